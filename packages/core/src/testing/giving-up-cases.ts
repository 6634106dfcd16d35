import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
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
  type Fleet,
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

    promise('forgets the signal of a call that has been answered, if it says that it does', forgetsSignals),

    promise('closes twice without a word', async ({ open }) => {
      const a = await open();
      await a.close();
      await a.close();
    }),
  ];
}

/** Nothing listens to the signal after the answer, and nothing happens when it aborts for another call. */
async function forgetsSignals({ open }: Fleet): Promise<void> {
  const [a, b] = [await open(), await open()];
  if (a.forgetsSignals !== true) return;
  const name = newName();
  const asked = request(name, { leaseMs: a.guarantees.expiry ? LONG_MS : null });
  const controllers: AbortController[] = [];
  const next = (): AbortSignal => {
    const controller = new AbortController();
    controllers.push(controller);
    return controller.signal;
  };
  const result = await a.tryAcquire(asked, next());
  assert(result.acquired);
  const { grant } = result;
  assert(!(await b.tryAcquire(request(name), next())).acquired);
  assert.equal(await a.renew(grant, next()), true);
  // Listeners come off in the same turn, perhaps just after the answer.
  await nextTurn();
  for (const { signal } of controllers) assert.equal(getEventListeners(signal, 'abort').length, 0, 'no listener is left behind');
  for (const controller of controllers) controller.abort(new Error('another call was given up'));
  assert.notEqual(grant.lost?.aborted, true, 'the lease is not lost because another call was given up');
  assert.equal(await a.renew(grant, next()), true, 'nor is it gone');
  assert.equal(await a.release(grant, { result: 'done' }, next()), true);
  await nextTurn();
  for (const { signal } of controllers) assert.equal(getEventListeners(signal, 'abort').length, 0, 'no listener is left behind');
}
