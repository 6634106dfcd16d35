// @ts-check

import { createRequire } from 'node:module';
import { Redis } from 'ioredis';
import { NAME } from '../recipe.js';
import { eachTick } from './ticks.js';

/** @import { Recipe, Setting } from '../recipe.js' */

// Its types are not where its manifest says.
const { default: Redlock, ExecutionError, ResourceLockedError } = createRequire(import.meta.url)('redlock');

/**
 * On one server. Its README recommends three or more; most programs have one.
 *
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function redlock({ store, leaseMs, tell }) {
  const locks = new Redlock([new Redis(store)]);
  locks.on('error', (/** @type {Error} */ error) => {
    if (!(error instanceof ResourceLockedError)) process.stderr.write(`${error.message}\n`);
  });
  return {
    schedule: eachTick(async (act) => {
      try {
        await locks.using([NAME], leaseMs, { retryCount: 0 }, act);
      } catch (error) {
        // The lock is busy.
        if (!(error instanceof ExecutionError)) throw error;
      }
    }),
    hold: (act) =>
      locks.using([NAME], leaseMs, { retryCount: -1 }, async (/** @type {AbortSignal} */ signal) => {
        signal.addEventListener('abort', () => tell('signal.aborted'));
        await act(() => !signal.aborted);
      }),
  };
}
