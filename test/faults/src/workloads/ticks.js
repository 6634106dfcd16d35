// @ts-check
// Each name has an occurrence every `tickMs`, and every replica asks for each of them.

import { setTimeout as sleep } from 'node:timers/promises';
import { resultOf } from '../result.js';

/** @import { Stage } from '../workloads.js' */

/** @param {Stage} stage */
export async function ticks({ solo, orders, note, handler }) {
  const { names, tickMs, onBusy, attempts, lateMs = 0 } = orders;
  const stopping = new AbortController();
  /** @type {Set<Promise<void>>} */
  const asking = new Set();
  let count = 0;

  /** @param {string} name @param {number} at */
  const ask = async (name, at) => {
    const id = String((count += 1));
    note({ kind: 'asked', id, name, at });
    const policy = onBusy === 'wait' ? { onBusy, waitMs: tickMs * 3 } : { onBusy };
    const running = solo.run(name, (context) => handler(id, name, context), { occurrence: new Date(at), attempts, ...policy });
    note({ kind: 'answered', id, name, at, result: await resultOf(running) });
  };

  const ticking = (async () => {
    for (;;) {
      const at = Math.ceil((Date.now() + 1) / tickMs) * tickMs;
      try {
        await sleep(at - Date.now() + lateMs, undefined, { signal: stopping.signal });
      } catch (error) {
        if (stopping.signal.aborted) return;
        throw error;
      }
      for (const name of names) {
        const one = ask(name, at).finally(() => asking.delete(one));
        asking.add(one);
      }
    }
  })();
  return async () => {
    stopping.abort();
    await ticking;
    // Standbys would wait for the next tick, which does not come: `close()` ends them.
    const closing = solo.close();
    await Promise.all(asking);
    await closing;
  };
}
