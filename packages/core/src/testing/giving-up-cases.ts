import assert from 'node:assert/strict';
import {
  casesOf,
  LONG_MS,
  mustAcquire,
  newName,
  request,
  settled,
  tryIt,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** A caller that has given up gets nothing, and leaves nothing behind. */
export function givingUpCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G8');

  return [
    promise('acquires nothing for a caller that has given up', async ({ open }) => {
      const a = await open();
      const name = newName();
      const reason = new Error('given up');
      await assert.rejects(async () => a.tryAcquire(request(name), AbortSignal.abort(reason)));
      await mustAcquire(a, name);
    }),

    promise('keeps nothing of a try that was given up while it was under way', async ({ open, pass }) => {
      const [a, b] = [await open(), await open()];
      for (let round = 0; round < 5; round += 1) {
        const name = newName();
        const controller = new AbortController();
        const trying = (async () =>
          a.tryAcquire(request(name, { leaseMs: a.guarantees.expiry ? LONG_MS : null }), controller.signal))();
        controller.abort(new Error('given up'));
        const result = await settled(trying);
        // A grant in spite of it is the caller's to release; a rejection must have left nothing behind.
        if (typeof result === 'object' && 'acquired' in result && result.acquired) {
          await a.release(result.grant, { result: 'abandoned' }, new AbortController().signal);
        }
        let free = false;
        for (let waitedMs = 0; !free && waitedMs < 5_000; waitedMs += 20) {
          free = (await tryIt(b, request(name))).acquired;
          if (!free) await pass(20);
        }
        assert(free, 'the name comes free long before the lease would have ended');
      }
    }),

    promise('closes twice without a word', async ({ open }) => {
      const a = await open();
      await a.close();
      await a.close();
    }),
  ];
}
