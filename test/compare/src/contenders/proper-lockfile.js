// @ts-check

import { join } from 'node:path';
import { lock } from 'proper-lockfile';
import { NAME } from '../recipe.js';
import { eachTick } from './ticks.js';

/** @import { Act, Recipe, Setting } from '../recipe.js' */

/** By default it does not wait. */
const PATIENTLY = { forever: true, factor: 1, minTimeout: 100, maxTimeout: 100 };

/**
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function properLockfile({ store, leaseMs, tell }) {
  /** @param {Act} act @param {{ retries?: typeof PATIENTLY }} [waiting] */
  const once = async (act, waiting) => {
    let compromised = false;
    const onCompromised = () => {
      compromised = true;
      tell('onCompromised()');
    };
    const release = await lock(join(store, NAME), { realpath: false, stale: leaseMs, onCompromised, ...waiting });
    try {
      await act(() => !compromised);
    } finally {
      await release();
    }
  };
  return {
    schedule: eachTick(async (act) => {
      try {
        await once(act);
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ELOCKED') throw error;
      }
    }),
    hold: (act) => once(act, { retries: PATIENTLY }),
  };
}
