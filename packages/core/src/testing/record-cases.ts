import assert from 'node:assert/strict';
import type { Grant, LockProvider } from '../provider.ts';
import {
  done,
  failed,
  instant,
  keptCasesOf,
  mustAcquire,
  newName,
  occurrence,
  recorded,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** The record that is kept of each run. */
export function recordCases(options: ContractOptions): ContractCase[] {
  const promise = keptCasesOf(options, 'G4');

  return [
    promise('keeps a record that tells who holds a name, and how the last run went', keepsARecord),

    promise('tells who claims an occurrence which schedule claimed before', async (a, b) => {
      const name = newName();
      const claim = async (on: LockProvider, minutesAgo: number, scheduleHash?: string): Promise<string | undefined> => {
        const grant = await mustAcquire(on, name, { occurrence: { at: instant(minutesAgo), attempts: 1, scheduleHash } });
        await done(on, grant);
        return grant.previousScheduleHash;
      };
      assert.equal(await claim(a, 9, 'abc'), undefined);
      assert.equal(await claim(b, 8, 'def'), 'abc');
      assert.equal(await claim(a, 7), 'def');
      assert.equal(await claim(a, 6, 'abc'), 'def');
    }),

    promise('tells who claims an occurrence the schedule before, and when it was due next', async (a, b) => {
      const name = newName();
      const schedule = { expression: '*/5 * * * *', timezone: 'UTC' };
      const nextDueAt = instant(8);
      const take = (on: LockProvider, minutesAgo: number, more: object = {}): Promise<Grant> =>
        mustAcquire(on, name, { occurrence: { at: instant(minutesAgo), attempts: 1, scheduleHash: 'abc', ...more } });
      await done(a, await take(a, 9, { schedule, nextDueAt }));
      const grant = await take(b, 7);
      assert.deepEqual([grant.previousSchedule, grant.previousNextDueAt?.getTime()], [schedule, nextDueAt.getTime()]);
      await done(b, grant);
      // It did not tell what was next.
      assert.equal((await take(a, 6)).previousNextDueAt, undefined);
    }),

    promise('lists the records whose names start as asked', async (a, b, fleet) => {
      const base = newName();
      const names = [`${base}/one`, `${base}/two`, `${base}%`, `${base}_three`];
      for (const name of names) await mustAcquire(a, name);
      await recorded(fleet, a);
      const listed = async (prefix: string): Promise<string[]> => {
        const found: string[] = [];
        for await (const record of b.list(prefix)) found.push(record.name);
        return found.sort();
      };
      assert.deepEqual(await listed(base), [...names].sort());
      assert.deepEqual(await listed(`${base}/`), [`${base}/one`, `${base}/two`]);
      assert.deepEqual(await listed(`${base}%`), [`${base}%`]);
    }),
  ];
}

/** Read by the other replica while the lease is held, after a failure, and after a success. */
async function keepsARecord(a: LockProvider, b: LockProvider): Promise<void> {
  const name = newName();
  assert.equal(await a.inspect(name), undefined);
  const at = instant(5);
  const first = await mustAcquire(a, name, { occurrence: { at, attempts: 3, scheduleHash: 'abc' } });
  const held = await b.inspect(name);
  assert.equal(held?.name, name);
  assert.equal(held.held, true);
  assert.equal(held.owner, first.owner);
  assert.equal(held.fence, first.fence);
  assert.equal(held.holder.host, 'contract.test');
  assert.equal(held.scheduleHash, 'abc');
  assert.deepEqual(held.occurrence, { at, state: 'claimed', attempt: 1 });
  assert(held.lastStartedAt instanceof Date && held.expiresAt instanceof Date && held.expiresAt > held.lastStartedAt);

  await failed(a, first, 'no space left');
  const after = await b.inspect(name);
  assert.equal(after?.held, false);
  assert.equal(after.expiresAt, undefined);
  assert.equal(after.lastError, 'no space left');
  assert.equal(after.lastSuccessAt, undefined);
  assert.equal(after.occurrence?.state, 'failed');

  await done(b, await mustAcquire(b, name, occurrence(at, 3)));
  const success = await a.inspect(name);
  assert.equal(success?.occurrence?.state, 'done');
  assert.equal(success.lastError, undefined);
  assert(success.lastSuccessAt instanceof Date);
  assert(success.lastDurationMs !== undefined && success.lastDurationMs >= 0);
}
