import assert from 'node:assert/strict';
import {
  done,
  failed,
  instant,
  keptCasesOf,
  mustAcquire,
  mustRefuse,
  newName,
  occurrence,
  request,
  takeOver,
  tryIt,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** How many runs of an occurrence may start. */
export function attemptCases(options: ContractOptions): ContractCase[] {
  const promise = keptCasesOf(options, 'G4');

  return [
    promise('gives a failed occurrence another attempt while one is left', async (a, b) => {
      const name = newName();
      const at = instant(5);
      await failed(a, await mustAcquire(a, name, occurrence(at, 2)));
      const second = await mustAcquire(b, name, occurrence(at, 2));
      assert.equal(second.attempt, 2);
      assert.equal(second.previous?.state, 'failed');
      await failed(b, second);
      await mustRefuse(a, name, 'exhausted', occurrence(at, 2));
    }),

    promise('gives an occurrence whose holder vanished another attempt while one is left', async (a, b, fleet) => {
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

    promise('undoes the claim of a run that never started', async (a, b) => {
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
  ];
}
