import assert from 'node:assert/strict';
import type { LockProvider, NamedPause, Pause } from '../provider.ts';
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
  renew,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

const HOUR_MS = 3_600_000;
const BY = 'kim@ops';
const never = new AbortController().signal;

function pause(provider: LockProvider, name: string, forMs: number = HOUR_MS, note?: string): Promise<Pause> {
  return provider.pause(name, { forMs, by: BY, ...(note === undefined ? {} : { note }) }, never);
}

async function pausesOf(provider: LockProvider, prefix: string): Promise<readonly NamedPause[]> {
  const found: NamedPause[] = [];
  for await (const each of provider.pauses(prefix)) found.push(each);
  return found;
}

/** A pause holds for every later acquisition, on every replica. */
export function pauseCases(options: ContractOptions): ContractCase[] {
  const promise = keptCasesOf(options, 'G4');

  return [
    promise('refuses a paused name on every replica, and says until when, by whom and why', async (a, b) => {
      const name = newName();
      await done(a, await mustAcquire(a, name));
      const { until, by, note } = await pause(a, name, HOUR_MS, 'the disk is being replaced');
      assert.deepEqual({ by, note }, { by: BY, note: 'the disk is being replaced' });
      for (const replica of [a, b]) {
        for (const more of [{}, { leaseMs: 5_000 }, occurrence(instant(5))]) {
          const refusal = await mustRefuse(replica, name, 'paused', more);
          assert.equal(refusal.until.getTime(), until.getTime());
          assert.deepEqual({ by: refusal.by, note: refusal.note }, { by, note });
        }
      }
    }),

    promise('pauses a name that was never acquired', async (a, b) => {
      const name = newName();
      const { until } = await pause(b, name);
      const refusal = await mustRefuse(a, name, 'paused');
      assert.deepEqual([refusal.by, refusal.note], [BY, undefined]);
      assert.deepEqual(await pausesOf(a, name), [{ name, until, by: BY }]);
    }),

    promise('lets a run in progress go on, and be renewed and released', letsARunGoOn),

    promise('lets those start who ignore the pause', async (a, b) => {
      const name = newName();
      await pause(a, name);
      await done(b, await mustAcquire(b, name, { ignorePause: true }));
      await done(b, await mustAcquire(b, name, { ignorePause: true, ...occurrence(instant(5)) }));
      await mustRefuse(b, name, 'paused');
    }),

    promise('ends a pause by its own clock', async (a, b, fleet) => {
      const name = newName();
      // Not the short one: a replica that has yet to connect may be later than its end.
      await pause(a, name);
      await mustRefuse(b, name, 'paused');
      await pause(a, name, 200);
      await untilAcquired(b, name, fleet);
      assert.deepEqual(await pausesOf(b, name), []);
      assert.equal(await a.resume(name, never), false);
    }),

    promise('ends a pause at the instant that it was given', async (a, b) => {
      const name = newName();
      const until = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + HOUR_MS);
      assert.equal((await a.pause(name, { until, by: BY }, never)).until.getTime(), until.getTime());
      const refusal = await mustRefuse(b, name, 'paused');
      assert.equal(refusal.until.getTime(), until.getTime());
    }),

    promise('resumes a name once, and pauses it again', async (a, b) => {
      const name = newName();
      assert.equal(await a.resume(name, never), false);
      await pause(a, name);
      await pause(b, name, 2 * HOUR_MS, 'longer');
      assert.equal((await pausesOf(a, name)).length, 1);
      assert.equal(await b.resume(name, never), true);
      assert.equal(await a.resume(name, never), false);
      await done(a, await mustAcquire(a, name));
      await pause(b, name);
      await mustRefuse(a, name, 'paused');
    }),

    promise('tells what can never run again before it tells of a pause', async (a, b) => {
      const name = newName();
      await done(a, await mustAcquire(a, name, occurrence(instant(5))));
      await pause(a, name);
      await mustRefuse(b, name, 'done', occurrence(instant(5)));
      await mustRefuse(b, name, 'superseded', occurrence(instant(6)));
      await mustRefuse(b, name, 'early', occurrence(new Date(Date.now() + HOUR_MS)));
      await mustRefuse(b, name, 'paused', occurrence(instant(4)));
    }),

    promise('shows a pause in the record, and in the list of pauses', showsAPause),
  ];
}

async function letsARunGoOn(a: LockProvider, b: LockProvider): Promise<void> {
  const name = newName();
  const at = instant(5);
  const grant = await mustAcquire(a, name, occurrence(at, 2));
  await pause(b, name);
  assert.equal(await renew(a, grant), true);
  // The pause is in the way of whoever waits, too.
  await mustRefuse(b, name, 'paused', occurrence(instant(4)));
  await mustRefuse(b, name, 'paused');
  assert.equal(await failed(a, grant), true);
  await mustRefuse(a, name, 'paused', occurrence(at, 2));
  await b.resume(name, never);
  assert.equal((await mustAcquire(b, name, occurrence(at, 2))).attempt, 2);
}

async function showsAPause(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  const base = newName();
  const [paused, other] = [`${base}/paused`, `${base}/other`];
  for (const name of [paused, other]) await done(a, await mustAcquire(a, name, occurrence(instant(5))));
  const made = await pause(a, paused, HOUR_MS, 'why');
  await recorded(fleet, a);
  assert.deepEqual((await b.inspect(paused))?.paused, made);
  assert.equal((await b.inspect(other))?.paused, undefined);
  assert.deepEqual(await pausesOf(b, `${base}/`), [{ name: paused, ...made }]);
  assert.deepEqual(await pausesOf(b, `${base}/o`), []);
  const listed = new Map<string, Pause | undefined>();
  for await (const record of b.list(`${base}/`)) listed.set(record.name, record.paused);
  assert.deepEqual(listed.get(paused), made);
  assert.equal(listed.size, 2);
}

async function untilAcquired(provider: LockProvider, name: string, { pass }: Fleet): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const result = await provider.tryAcquire(
      { name, owner: `owner ${tries}`, leaseMs: 60_000, holder: { host: 'contract.test', pid: 4711 } },
      never,
    );
    if (result.acquired) return;
    assert(tries < 1_000, 'a pause that is over lets a run start');
    await pass(10);
  }
}
