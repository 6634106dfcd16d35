import assert from 'node:assert/strict';
import { UnsupportedError } from '../errors.ts';
import type { LockProvider } from '../provider.ts';
import {
  casesOf,
  done,
  failed,
  instant,
  keptCasesOf,
  mustAcquire,
  mustRefuse,
  newName,
  occurrence,
  renew,
  request,
  tryIt,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** Once per occurrence: the mark of a name only rises. */
export function occurrenceCases(options: ContractOptions): ContractCase[] {
  const whether = casesOf(options, 'G4');
  const promise = keptCasesOf(options, 'G4');

  return [
    whether('refuses an occurrence outright if it keeps none', async ({ open }) => {
      const a = await open();
      const asked = request(newName(), occurrence(instant(5)));
      if (a.guarantees.occurrences) assert((await tryIt(a, asked)).acquired);
      else await assert.rejects(tryIt(a, asked), UnsupportedError);
    }),

    promise('runs an occurrence once: a late replica finds it done', async (a, b) => {
      const name = newName();
      const at = instant(5);
      await done(a, await mustAcquire(a, name, occurrence(at)));
      for (const replica of [a, b]) {
        const refusal = await mustRefuse(replica, name, 'done', occurrence(at, 3));
        assert.equal(refusal.record?.occurrence?.at.getTime(), at.getTime());
      }
    }),

    promise('marks the scheduled instant and not the time of the claim', async (a, b) => {
      const name = newName();
      await done(a, await mustAcquire(a, name, occurrence(instant(60))));
      // Scheduled after it, claimed late: its turn all the same.
      await done(b, await mustAcquire(b, name, occurrence(instant(59))));
      await mustRefuse(a, name, 'superseded', occurrence(instant(60)));
    }),

    promise('refuses an occurrence below the mark, also while a later one runs', async (a, b) => {
      const name = newName();
      const grant = await mustAcquire(a, name, occurrence(instant(4)));
      await mustRefuse(b, name, 'superseded', occurrence(instant(5), 3));
      await mustRefuse(b, name, 'held', occurrence(instant(4), 3));
      await mustRefuse(b, name, 'held', occurrence(instant(3)));
      await done(a, grant);
      await mustRefuse(b, name, 'superseded', occurrence(instant(5), 3));
    }),

    promise('keeps the mark through acquisitions that have no occurrence', keepsTheMark),

    promise('does not start an occurrence before its time, by its own clock', async (a, b) => {
      const name = newName();
      const at = new Date(Date.now() + 3_600_000);
      const refusal = await mustRefuse(a, name, 'early', occurrence(at));
      assert(Math.abs(refusal.earlyMs - 3_600_000) < 60_000, `an hour early is not ${refusal.earlyMs} ms`);
      await done(b, await mustAcquire(b, name, occurrence(instant(5))));
    }),

    promise('lets one of many claim an occurrence', oneClaims),
  ];
}

/** Replicas claim several occurrences, one after the other, each many times at once. */
async function oneClaims(a: LockProvider, b: LockProvider): Promise<void> {
  const name = newName();
  for (let minutesAgo = 8; minutesAgo > 4; minutesAgo -= 1) {
    const tries = Array.from({ length: 16 }, (_, n) =>
      tryIt(n % 2 === 0 ? a : b, request(name, occurrence(instant(minutesAgo), 3))),
    );
    const results = await Promise.all(tries);
    assert.equal(results.filter((result) => result.acquired).length, 1);
    for (const [n, result] of results.entries()) if (result.acquired) await done(n % 2 === 0 ? a : b, result.grant);
  }
}

/** A failed run, a held lease and a renewal without an occurrence leave the mark where it is. */
async function keepsTheMark(a: LockProvider, b: LockProvider): Promise<void> {
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
}
