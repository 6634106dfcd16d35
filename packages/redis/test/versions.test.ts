import { randomUUID } from 'node:crypto';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, asked, never, onRedis } from './server.ts';
import { BEFORE, before, type Before } from './version-before.ts';

// While a fleet is replaced, two versions share the hashes.
const stage = onRedis();
let old: Before;
beforeEach(() => {
  old = before(stage.server.url);
  onTestFinished(() => old.end());
});

const AT = new Date(1_700_000_000_000);
const LATER = new Date(AT.getTime() + 60_000);
const NEXT = new Date(AT.getTime() + 120_000);
const occurrence = (at: Date, attempts = 1): { occurrence: { at: Date; attempts: number } } => ({ occurrence: { at, attempts } });

function open(): ReturnType<typeof redis> {
  return stage.open(redis({ url: stage.server.url, settleMs: 0 }));
}

it('reads what the version before has left, as far as that tells', async () => {
  const provider = open();
  await old.acquire('left', { owner: 'one', at: AT });
  await old.release('left', 'one', 'done');
  const done = await provider.inspect('left');
  expect(done).toMatchObject({ held: false, holder: BEFORE, scheduleHash: 'digest', lastOutcome: 'done', leaseMs: 60_000 });
  expect(done!.lastFinishedAt).toEqual(done!.lastSuccessAt);
  expect(done!.knownSince).toEqual(done!.acquiredAt);
  expect([done!.lastRunBy, done!.nextDueAt, done!.schedule, done!.paused]).toEqual(Array(4).fill(undefined));
  expect(await provider.runs('left', 9)).toEqual([]);
  expect(await provider.tryAcquire(asked('left', occurrence(AT)), never)).toMatchObject({ reason: 'done' });

  await old.acquire('left', { owner: 'two', at: LATER });
  await old.release('left', 'two', 'failed', 'no paper');
  expect(await provider.inspect('left')).toMatchObject({ lastOutcome: 'failed', lastError: 'no paper', lastFinishedAt: undefined });

  const since = (await provider.inspect('left'))!.acquiredAt;
  const grant = await acquired(provider, 'left', occurrence(LATER, 2));
  expect(grant).toMatchObject({ attempt: 2, previous: { at: LATER, state: 'failed', attempt: 1 }, previousScheduleHash: 'digest' });
  expect((await provider.inspect('left'))!.knownSince).toEqual(since);
  await provider.release(grant, { result: 'done' }, never);
  expect((await provider.inspect('left'))!.knownSince).toEqual(since);
  expect(await provider.runs('left', 9)).toMatchObject([{ fence: grant.fence, attempt: 2, outcome: 'done' }]);
});

it('tells of runs that the version before began: of those that were lost, and of those that are ended by hand', async () => {
  const provider = open();
  const lost = await old.acquire('begun', { leaseMs: 100, at: AT });
  await expect.poll(async () => (await provider.inspect('begun'))?.held).toBe(false);
  expect(await provider.inspect('begun')).toMatchObject({ lastOutcome: 'lost', lastRunBy: BEFORE });
  expect(await provider.runs('begun', 9)).toMatchObject([{ outcome: 'lost', occurrence: AT, holder: BEFORE, attempt: 1 }]);
  const next = await acquired(provider, 'begun', occurrence(AT, 2));
  await provider.release(next, { result: 'done' }, never);
  const fence = await old.acquire('begun', { owner: 'stuck', at: LATER });
  await provider.release({ name: 'begun', owner: 'stuck', fence: 0n, attempt: 1 }, { result: 'failed', error: 'by hand' }, never);
  expect((await provider.runs('begun', 9)).map((run) => [Number(run.fence), run.outcome, run.error])).toEqual([
    [fence, 'failed', 'by hand'],
    [Number(next.fence), 'done', undefined],
    [lost, 'lost', undefined],
  ]);
});

it('is understood by the version before: what is held, what has run, and whose a lease is', async () => {
  const provider = open();
  const grant = await acquired(provider, 'new', { leaseMs: 60_000, history: true, ...occurrence(AT, 2) });
  expect(await old.acquire('new')).toBe('held');
  expect(await old.renew('new', 'another')).toBe(false);
  expect(await old.renew('new', grant.owner)).toBe(true);
  expect(await old.release('new', grant.owner, 'done')).toBe(true);
  expect(await old.acquire('new', { at: AT })).toBe('done');
  expect(await old.acquire('new')).toBeGreaterThan(Number(grant.fence));
});

it('takes nothing for the present that the version before has left as it was', async () => {
  const provider = open();
  const told = { at: AT, attempts: 1, nextDueAt: LATER, schedule: { everyMs: 60_000 } };
  const first = await acquired(provider, 'stale', { occurrence: told });
  await provider.release(first, { result: 'failed', error: 'no' }, never);
  // A plain run that is kept: what says so is still there when the version before has another one.
  await provider.release(await acquired(provider, 'stale', { history: true }), { result: 'failed', error: 'no' }, never);
  expect(await provider.inspect('stale')).toMatchObject({ lastOutcome: 'failed', nextDueAt: LATER });

  await old.acquire('stale', { owner: 'plain' });
  expect(await provider.inspect('stale')).toMatchObject({ lastOutcome: 'failed', lastRunBy: { host: 'test.host' } });
  await old.release('stale', 'plain', 'done');
  const after = await provider.inspect('stale');
  expect(after).toMatchObject({ lastOutcome: 'done', lastFinishedAt: after!.lastSuccessAt, lastRunBy: undefined });
  await old.acquire('stale', { owner: 'lost', leaseMs: 100 });
  await expect.poll(async () => (await provider.inspect('stale'))?.held).toBe(false);
  expect((await provider.runs('stale', 9)).map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);

  await old.acquire('stale', { owner: 'claims', at: LATER });
  expect(await provider.inspect('stale')).toMatchObject({ nextDueAt: undefined, schedule: { everyMs: 60_000 } });
  await old.release('stale', 'claims', 'abandoned');
  expect(await provider.inspect('stale')).toMatchObject({ occurrence: { at: AT } });
  // The pause of a name survives what the version before does with it.
  await provider.pause('stale', { until: new Date(Date.now() + 60_000), by: 'kim' }, never);
  await old.acquire('stale', { owner: 'unaware' });
  await old.release('stale', 'unaware', 'done');
  expect(await provider.tryAcquire(asked('stale', { occurrence: { at: NEXT, attempts: 1 } }), never)).toMatchObject({
    reason: 'paused',
    by: 'kim',
  });
});

it('does not let the version before run again what an operator has opened, unless it has an attempt left', async () => {
  const provider = open();
  await provider.release(await acquired(provider, 'opened', occurrence(AT)), { result: 'done' }, never);
  expect(await provider.reopen('opened', never)).toMatchObject({ state: 'reopened', attempt: 1 });
  await old.acquire('opened', { owner: 'second', at: AT });
  await old.release('opened', 'second', 'failed');
  expect(await old.acquire('opened', { at: AT })).toBe('exhausted');
  await provider.reopen('opened', never);
  expect(await old.acquire('opened', { at: AT })).toBe('exhausted');
  expect(await acquired(provider, 'opened', occurrence(AT))).toMatchObject({ attempt: 3 });
});

it('excludes beside the version before, with fences that grow, each occurrence once', { timeout: 60_000 }, async () => {
  const provider = open();
  let holders = 0;
  let last = 0n;
  const ran = new Map<number, number>();
  const began = (fence: bigint, at: number | undefined): void => {
    expect((holders += 1)).toBe(1);
    expect(fence).toBeGreaterThan(last);
    last = fence;
    if (at !== undefined) ran.set(at, (ran.get(at) ?? 0) + 1);
  };
  let round = 0;
  const instant = (): Date | undefined => ((round += 1) % 3 === 0 ? undefined : new Date(AT.getTime() + Math.floor(round / 12)));
  const useOld = async (): Promise<void> => {
    for (let runs = 0; runs < 60;) {
      const [owner, at] = [randomUUID(), instant()];
      const fence = await old.acquire('both', { owner, ...(at && { at }) });
      if (typeof fence !== 'number') continue;
      began(BigInt(fence), at?.getTime());
      await new Promise((resolve) => setImmediate(resolve));
      holders -= 1;
      await old.release('both', owner, 'done');
      runs += 1;
    }
  };
  const useNew = async (): Promise<void> => {
    for (let runs = 0; runs < 60;) {
      const at = instant();
      const result = await provider.tryAcquire(
        asked('both', { leaseMs: 60_000, ...(at === undefined ? { history: true } : occurrence(at)) }),
        never,
      );
      if (!result.acquired) continue;
      began(result.grant.fence, at?.getTime());
      await new Promise((resolve) => setImmediate(resolve));
      holders -= 1;
      await provider.release(result.grant, { result: 'done' }, never);
      runs += 1;
    }
  };
  await Promise.all([useOld(), useNew(), useNew()]);
  expect([...ran.values()].every((times) => times === 1)).toBe(true);
  const fences = (await provider.runs('both', 99)).map(({ fence }) => fence);
  expect(fences).toEqual([...fences].sort((one, other) => Number(other - one)));
  expect(fences.length).toBe(50);
});
