import assert from 'node:assert/strict';
import { UnsupportedError } from '../errors.ts';
import {
  casesOf,
  done,
  mustAcquire,
  mustRefuse,
  newName,
  request,
  settled,
  tryIt,
  within,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

/** A name comes free, and its waiters learn of it. */
export function failoverCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G5');

  return [
    promise('frees a name when its lease runs out, and not before', (fleet) => freesInTime(fleet, options.pass !== undefined)),

    promise('holds a lease without end, if it says that it can', async ({ open, leaseMs, pass }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      if (!a.guarantees.unbounded) {
        await assert.rejects(tryIt(a, request(name, { leaseMs: null })), UnsupportedError);
        return;
      }
      await mustAcquire(a, name, { leaseMs: null });
      await pass(leaseMs * 2);
      const refusal = await mustRefuse(b, name, 'held');
      assert.equal(refusal.expiresInMs, undefined, 'it does not expire');
    }),

    promise('wakes a waiter when the name comes free, if it says that it does', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      // A provider that wakes nobody may still poll in its own way, for many names at once.
      if (b.untilFree === undefined && a.guarantees.wakeUp === 'poll') return;
      assert(b.untilFree !== undefined, 'a provider that wakes its waiters has untilFree');
      const name = newName();
      const grant = await mustAcquire(a, name);
      const asked = request(name);
      const controller = new AbortController();
      // Hints may be early: only what comes after the last one counts.
      let acquired = false;
      const waiting = (async () => {
        while (!acquired) {
          await b.untilFree!(asked, controller.signal);
          acquired = (await tryIt(b, asked)).acquired;
        }
      })();
      await done(a, grant);
      await within(10_000, waiting, 'the waiter was not woken');
      controller.abort();
    }),

    promise('lets a waiter go that has given up', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      if (b.untilFree === undefined) return;
      const name = newName();
      const grant = await mustAcquire(a, name);
      const controller = new AbortController();
      const waiting = settled(b.untilFree(request(name), controller.signal));
      controller.abort(new Error('given up'));
      await within(10_000, waiting, 'the waiter was not let go');
      // Nor does it keep what came free after it had gone.
      await done(a, grant);
      await mustAcquire(a, name);
    }),
  ];
}

/** Tries until the name comes free: not before the lease can have run out, and not much later. */
async function freesInTime({ open, leaseMs, pass }: Fleet, hasOwnClock: boolean): Promise<void> {
  const [a, b] = [await open(), await open()];
  const name = newName();
  if (!a.guarantees.expiry) {
    await assert.rejects(tryIt(a, request(name, { leaseMs })), UnsupportedError);
    return;
  }
  let passedMs = 0;
  const sentAt = performance.now();
  await mustAcquire(a, name, { leaseMs });
  for (;;) {
    const result = await tryIt(b, request(name));
    const sinceMs = hasOwnClock ? passedMs : performance.now() - sentAt;
    if (result.acquired) {
      assert(sinceMs >= leaseMs, `a lease of ${leaseMs} ms was taken over ${sinceMs} ms after it was asked for`);
      return;
    }
    assert.equal(result.reason, 'held');
    assert(sinceMs < leaseMs * 3 + 5_000, 'a lease that nobody renews comes free');
    await pass(5);
    passedMs += 5;
  }
}
