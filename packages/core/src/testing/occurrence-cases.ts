import assert from 'node:assert/strict';
import { UnsupportedError } from '../errors.ts';
import type { LockProvider } from '../provider.ts';
import {
  contractCase,
  done,
  failed,
  instant,
  mustAcquire,
  mustRefuse,
  newName,
  occurrence,
  recorded,
  renew,
  request,
  takeOver,
  tryIt,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

/** Once per occurrence, and what is kept of each run. */
export function occurrenceCases(options: ContractOptions): ContractCase[] {
  const promise = (
    guarantee: ContractCase['guarantee'],
    name: string,
    body: (a: LockProvider, b: LockProvider, fleet: Fleet) => Promise<void>,
  ): ContractCase =>
    contractCase(options, guarantee, name, async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      // A provider must not pretend to keep what it does not keep: the first case below.
      if (a.guarantees.occurrences) await body(a, b, fleet);
    });

  return [
    contractCase(options, 'G4', 'refuses an occurrence outright if it keeps none', async ({ open }) => {
      const a = await open();
      const asked = request(newName(), occurrence(instant(5)));
      if (a.guarantees.occurrences) assert((await tryIt(a, asked)).acquired);
      else await assert.rejects(tryIt(a, asked), UnsupportedError);
    }),

    promise('G4', 'runs an occurrence once: a late replica finds it done', async (a, b) => {
      const name = newName();
      const at = instant(5);
      await done(a, await mustAcquire(a, name, occurrence(at)));
      for (const replica of [a, b]) {
        const refusal = await mustRefuse(replica, name, 'done', occurrence(at, 3));
        assert.equal(refusal.record?.occurrence?.at.getTime(), at.getTime());
      }
    }),

    promise('G4', 'marks the scheduled instant and not the time of the claim', async (a, b) => {
      const name = newName();
      await done(a, await mustAcquire(a, name, occurrence(instant(60))));
      // Scheduled after it, claimed late: its turn all the same.
      await done(b, await mustAcquire(b, name, occurrence(instant(59))));
      await mustRefuse(a, name, 'superseded', occurrence(instant(60)));
    }),

    promise('G4', 'refuses an occurrence below the mark, also while a later one runs', async (a, b) => {
      const name = newName();
      const grant = await mustAcquire(a, name, occurrence(instant(4)));
      await mustRefuse(b, name, 'superseded', occurrence(instant(5), 3));
      await mustRefuse(b, name, 'held', occurrence(instant(4), 3));
      await mustRefuse(b, name, 'held', occurrence(instant(3)));
      await done(a, grant);
      await mustRefuse(b, name, 'superseded', occurrence(instant(5), 3));
    }),

    promise('G4', 'gives a failed occurrence another attempt while one is left', async (a, b) => {
      const name = newName();
      const at = instant(5);
      await failed(a, await mustAcquire(a, name, occurrence(at, 2)));
      const second = await mustAcquire(b, name, occurrence(at, 2));
      assert.equal(second.attempt, 2);
      assert.equal(second.previous?.state, 'failed');
      await failed(b, second);
      await mustRefuse(a, name, 'exhausted', occurrence(at, 2));
    }),

    promise('G4', 'gives an occurrence whose holder vanished another attempt while one is left', async (a, b, fleet) => {
      if (!a.guarantees.expiry) return;
      const name = newName();
      const at = instant(5);
      await mustAcquire(a, name, { ...occurrence(at, 2), leaseMs: fleet.leaseMs });
      const second = await takeOver(fleet, b, name, { ...occurrence(at, 2), leaseMs: fleet.leaseMs });
      assert.equal(second.attempt, 2);
      assert.equal(second.previous?.state, 'claimed');
      for (let waitedMs = 0; ; waitedMs += 10) {
        const result = await tryIt(a, request(name, occurrence(at, 2)));
        assert(!result.acquired, 'no more attempts than were asked for');
        if (result.reason === 'exhausted') break;
        assert.equal(result.reason, 'held');
        assert(waitedMs < fleet.leaseMs * 5 + 5_000);
        await fleet.pass(10);
      }
    }),

    promise('G4', 'undoes the claim of a run that never started', async (a, b) => {
      const name = newName();
      const never = new AbortController().signal;
      await done(a, await mustAcquire(a, name, occurrence(instant(6))));
      await a.release(await mustAcquire(a, name, occurrence(instant(5))), { result: 'abandoned' }, never);
      const again = await mustAcquire(b, name, occurrence(instant(5)));
      assert.equal(again.attempt, 1);
      await b.release(again, { result: 'abandoned' }, never);
      await mustRefuse(a, name, 'done', occurrence(instant(6)));
      // Also where it was the first that was ever claimed.
      const fresh = newName();
      await a.release(await mustAcquire(a, fresh, occurrence(instant(5))), { result: 'abandoned' }, never);
      assert.equal((await mustAcquire(b, fresh, occurrence(instant(5)))).attempt, 1);
    }),

    promise('G4', 'keeps the mark through acquisitions that have no occurrence', async (a, b) => {
      const name = newName();
      const at = instant(5);
      await done(a, await mustAcquire(a, name, occurrence(at)));
      await failed(b, await mustAcquire(b, name));
      await mustRefuse(a, name, 'done', occurrence(at));
      const plain = await mustAcquire(b, name);
      await mustRefuse(a, name, 'done', occurrence(at));
      assert.equal(await renew(b, plain), true);
      await done(b, plain);
      await done(a, await mustAcquire(a, name, occurrence(instant(4))));
    }),

    promise('G4', 'does not start an occurrence before its time, by its own clock', async (a, b) => {
      const name = newName();
      const at = new Date(Date.now() + 3_600_000);
      const refusal = await mustRefuse(a, name, 'early', occurrence(at));
      assert(Math.abs(refusal.earlyMs - 3_600_000) < 60_000, `an hour early is not ${refusal.earlyMs} ms`);
      await done(b, await mustAcquire(b, name, occurrence(instant(5))));
    }),

    promise('G4', 'lets one of many claim an occurrence', async (a, b) => {
      const name = newName();
      for (let minutesAgo = 8; minutesAgo > 4; minutesAgo -= 1) {
        const tries = Array.from({ length: 16 }, (_, n) =>
          tryIt(n % 2 === 0 ? a : b, request(name, occurrence(instant(minutesAgo), 3))),
        );
        const results = await Promise.all(tries);
        assert.equal(results.filter((result) => result.acquired).length, 1);
        for (const [n, result] of results.entries()) if (result.acquired) await done(n % 2 === 0 ? a : b, result.grant);
      }
    }),

    promise('G4', 'keeps a record that tells who holds a name, and how the last run went', async (a, b) => {
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
    }),

    promise('G4', 'tells who claims an occurrence which schedule claimed before', async (a, b) => {
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

    promise('G4', 'lists the records whose names start as asked', async (a, b, fleet) => {
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
