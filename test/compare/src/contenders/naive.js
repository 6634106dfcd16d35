// @ts-check

import { Redis } from 'ioredis';
import { NAME } from '../recipe.js';
import { eachTick, untilHeld } from './ticks.js';

/** @import { Act, Recipe, Setting } from '../recipe.js' */

/**
 * `SET NX PX`, and `DEL` at the end.
 *
 * @param {Setting} setting
 * @param {{ atLeastMs?: number }} [options] For how long the lock is kept, however short the job was.
 * @returns {Promise<Recipe>}
 */
export async function naive({ store, leaseMs }, { atLeastMs = 0 } = {}) {
  const client = new Redis(store);
  const once = async (/** @type {Act} */ act) => {
    const since = performance.now();
    if ((await client.set(NAME, 'locked', 'PX', leaseMs, 'NX')) !== 'OK') return false;
    try {
      await act();
    } finally {
      const left = Math.ceil(since + atLeastMs - performance.now());
      if (left > 0) await client.pexpire(NAME, left);
      else await client.del(NAME);
    }
    return true;
  };
  return { schedule: eachTick(once), hold: (act) => untilHeld(() => once(act)) };
}
