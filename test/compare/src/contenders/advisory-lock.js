// @ts-check

import advisoryLockPackage from 'advisory-lock';
import { NAME } from '../recipe.js';
import { eachTick } from './ticks.js';

/** @import { Recipe, Setting } from '../recipe.js' */

/**
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function advisoryLock({ store }) {
  const { tryLock, withLock } = advisoryLockPackage.default(store)(NAME);
  return {
    schedule: eachTick(async (act) => {
      const unlock = await tryLock();
      if (unlock === undefined) return;
      try {
        await act();
      } finally {
        await unlock();
      }
    }),
    hold: async (act) => void (await withLock(() => act())),
  };
}
