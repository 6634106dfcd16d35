// @ts-check

import { E_LOCK_NOT_OWNED, Verrou } from '@verrou/core';
import { redisStore } from '@verrou/core/drivers/redis';
import { Redis } from 'ioredis';
import { NAME } from '../recipe.js';
import { eachTick } from './ticks.js';

/** @import { Recipe, Setting } from '../recipe.js' */

/**
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function verrou({ store, leaseMs, tell }) {
  const driver = redisStore({ connection: new Redis(store) });
  const locks = new Verrou({ default: 'redis', stores: { redis: { driver } } });
  return {
    schedule: eachTick((act) => locks.createLock(NAME, leaseMs).runImmediately(act)),
    async hold(act) {
      const lock = locks.createLock(NAME, leaseMs);
      await lock.run(async () => {
        // The package extends no lock by itself.
        const extending = setInterval(() => {
          lock.extend().catch((/** @type {unknown} */ error) => {
            if (error instanceof E_LOCK_NOT_OWNED) tell('extend() throws E_LOCK_NOT_OWNED');
          });
        }, leaseMs / 3);
        try {
          await act(() => !lock.isExpired());
        } finally {
          clearInterval(extending);
        }
      });
    },
  };
}
