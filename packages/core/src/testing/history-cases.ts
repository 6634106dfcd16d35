import assert from 'node:assert/strict';
import type { AcquireRequest, Grant, LockProvider, RunRecord } from '../provider.ts';
import {
  done,
  failed,
  instant,
  keptCasesOf,
  mustAcquire,
  mustRefuse,
  newName,
  occurrence,
  recorded,
  takeOver,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

const never = new AbortController().signal;

function runsOf(provider: LockProvider, name: string, limit: number = Number.MAX_SAFE_INTEGER): Promise<readonly RunRecord[]> {
  return provider.runs(name, limit);
}

/** The runs that were, and the second chance of one. */
export function historyCases(options: ContractOptions): ContractCase[] {
  const promise = keptCasesOf(options, 'G4');

  return [
    promise('keeps the runs of a name that has occurrences, the newest first', keepsRuns),

    promise('keeps the runs of a plain name only if it is asked to', async (a, b, fleet) => {
      const [kept, not] = [newName(), newName()];
      const grant = await mustAcquire(a, kept, { history: true });
      await done(a, grant);
      await done(a, await mustAcquire(a, not));
      await recorded(fleet, a);
      const [run, ...others] = await runsOf(b, kept);
      assert.deepEqual([run?.fence, run?.occurrence, run?.attempt, run?.outcome], [grant.fence, undefined, 1, 'done']);
      assert.deepEqual([others, await runsOf(b, not), await runsOf(b, newName())], [[], [], []]);
    }),

    promise('keeps the last 50 runs', async (a, b) => {
      const name = newName();
      const fences: bigint[] = [];
      for (let run = 0; run < 53; run += 1) {
        const grant = await mustAcquire(a, name, { history: true, ...occurrence(new Date(instant(60).getTime() + run)) });
        fences.unshift(grant.fence);
        await done(a, grant);
      }
      assert.deepEqual(
        (await runsOf(b, name)).map(({ fence }) => fence),
        fences.slice(0, 50),
      );
      assert.deepEqual(
        (await runsOf(b, name, 3)).map(({ fence }) => fence),
        fences.slice(0, 3),
      );
    }),

    promise('keeps no run that was never started', async (a, b) => {
      const name = newName();
      const grant = await mustAcquire(a, name, occurrence(instant(5)));
      await a.release(grant, { result: 'abandoned' }, never);
      assert.deepEqual(await runsOf(b, name), []);
      assert.equal((await b.inspect(name))?.lastOutcome, undefined);
    }),

    promise('tells of a run that was lost, once another one has followed', tellsOfALostRun),

    promise('tells how the last run ended, when, and who ran it', async (a, b, fleet) => {
      const name = newName();
      const grant = await mustAcquire(a, name, { ...occurrence(instant(5)), leaseMs: 7_000 });
      const running = await b.inspect(name);
      assert.deepEqual([running?.lastOutcome, running?.lastFinishedAt, running?.lastRunBy], [undefined, undefined, undefined]);
      assert(running?.knownSince instanceof Date && running.leaseMs === 7_000);
      await failed(a, grant, 'no');
      await recorded(fleet, a);
      const over = await b.inspect(name);
      assert.deepEqual([over?.lastOutcome, over?.lastRunBy?.pid], ['failed', 4711]);
      assert(over?.lastFinishedAt !== undefined && over.lastFinishedAt >= over.acquiredAt);
      assert.equal(over.knownSince?.getTime(), running.knownSince.getTime());
      await done(b, await mustAcquire(b, name, occurrence(instant(4))));
      assert.equal((await a.inspect(name))?.lastOutcome, 'done');
    }),

    promise('keeps the schedule of a claim, and when it is due next', keepsTheSchedule),

    promise('has an occurrence due again whose claim was taken back', async (a, b) => {
      const name = newName();
      const claim = { at: instant(5), attempts: 2, nextDueAt: instant(-5) };
      const due = async (): Promise<number | undefined> => (await b.inspect(name))?.nextDueAt?.getTime();
      const take = (): Promise<Grant> => mustAcquire(a, name, { occurrence: claim });
      await a.release(await take(), { result: 'abandoned' }, never);
      assert.equal(await due(), claim.at.getTime());
      await failed(a, await take());
      assert.equal(await due(), claim.nextDueAt.getTime());
      // Of another attempt: what is due next does not change.
      await b.release(await mustAcquire(b, name, { occurrence: claim }), { result: 'abandoned' }, never);
      assert.equal(await due(), claim.nextDueAt.getTime());
    }),

    promise('opens the last occurrence once more, whatever became of it, and nothing else', reopens),
  ];
}

async function keepsRuns(a: LockProvider, b: LockProvider): Promise<void> {
  const name = newName();
  const at = instant(5);
  const first = await mustAcquire(a, name, occurrence(at, 2));
  await failed(a, first, 'no space left');
  const second = await mustAcquire(b, name, occurrence(at, 2));
  await done(b, second);
  const [newest, oldest, ...others] = await runsOf(a, name);
  assert(newest !== undefined && oldest !== undefined && others.length === 0, 'there were two runs');
  const told = ({ fence, occurrence: for_, attempt, outcome, error }: RunRecord): unknown => ({
    ...{ fence, at: for_?.getTime(), attempt, outcome, error },
  });
  assert.deepEqual(told(newest), { fence: second.fence, at: at.getTime(), attempt: 2, outcome: 'done', error: undefined });
  assert.deepEqual(told(oldest), { fence: first.fence, at: at.getTime(), attempt: 1, outcome: 'failed', error: 'no space left' });
  for (const { holder, startedAt, finishedAt } of [newest, oldest]) {
    assert.deepEqual([holder.host, holder.pid, holder.label], ['contract.test', 4711, 'case']);
    assert(finishedAt !== undefined && finishedAt >= startedAt);
  }
}

/** A lease ends without a word, and another replica follows. */
async function tellsOfALostRun(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  if (a.guarantees.expiry !== true) return;
  const name = newName();
  const at = instant(5);
  const lost = await mustAcquire(a, name, { ...occurrence(at, 2), leaseMs: fleet.leaseMs });
  const next = await takeOver(fleet, b, name, occurrence(at, 2));
  const [run, ...others] = await runsOf(b, name);
  assert.deepEqual([run?.fence, run?.outcome, run?.attempt, others], [lost.fence, 'lost', 1, []]);
  assert.equal((await b.inspect(name))?.lastOutcome, 'lost');
  // Told too late: it changes nothing of what stands.
  await done(a, lost).catch(() => false);
  await done(b, next);
  assert.deepEqual(
    (await runsOf(a, name)).map(({ fence, outcome }) => [fence, outcome]),
    [
      [next.fence, 'done'],
      [lost.fence, 'lost'],
    ],
  );
}

async function keepsTheSchedule(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  const name = newName();
  const schedule = { expression: '0 3 * * *', timezone: 'Europe/Berlin' };
  const [at, nextDueAt] = [instant(9), instant(8)];
  await done(a, await mustAcquire(a, name, { occurrence: { at, attempts: 1, schedule, nextDueAt } }));
  const told = await b.inspect(name);
  assert.deepEqual([told?.schedule, told?.nextDueAt?.getTime()], [schedule, nextDueAt.getTime()]);
  // A plain run is none of the schedule.
  await done(b, await mustAcquire(b, name));
  await recorded(fleet, b);
  assert.deepEqual((await a.inspect(name))?.nextDueAt?.getTime(), nextDueAt.getTime());
  // A claim that does not tell what is next: what was told before is of the past.
  await done(b, await mustAcquire(b, name, occurrence(instant(7))));
  const after = await a.inspect(name);
  assert.deepEqual([after?.schedule, after?.nextDueAt], [schedule, undefined]);
  // The other form of a schedule.
  const every: AcquireRequest['occurrence'] = { at: instant(6), attempts: 1, schedule: { everyMs: 60_000 } };
  await done(b, await mustAcquire(b, name, { occurrence: every }));
  assert.deepEqual((await a.inspect(name))?.schedule, { everyMs: 60_000 });
}

async function reopens(a: LockProvider, b: LockProvider): Promise<void> {
  const name = newName();
  const [earlier, at] = [instant(6), instant(5)];
  assert.equal(await a.reopen(name, never), undefined);
  await done(a, await mustAcquire(a, name, occurrence(earlier)));
  const running = await mustAcquire(a, name, occurrence(at));
  assert.equal(await b.reopen(name, never), undefined, 'a run in progress is not opened again');
  await done(a, running);
  for (const _ of ['once', 'twice']) assert.deepEqual(await b.reopen(name, never), { at, state: 'reopened', attempt: 1 });
  await mustRefuse(a, name, 'superseded', occurrence(earlier, 9));
  const again = await mustAcquire(a, name, occurrence(at));
  assert.equal(again.attempt, 2);
  assert.deepEqual(again.previous, { at, state: 'reopened', attempt: 1 });
  await failed(a, again);
  await mustRefuse(b, name, 'exhausted', occurrence(at));
  // Opened again while a run of it was abandoned: the chance is still there.
  await b.reopen(name, never);
  const abandoned = await mustAcquire(b, name, occurrence(at));
  await b.release(abandoned, { result: 'abandoned' }, never);
  const last = await mustAcquire(a, name, occurrence(at));
  assert.equal(last.attempt, 3);
  await done(a, last);
  await mustRefuse(b, name, 'done', occurrence(at));
}
