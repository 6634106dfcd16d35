// @ts-check

import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { NAME } from '../recipe.js';
import { eachTick } from './ticks.js';

/** @import { Act, Recipe, Setting } from '../recipe.js' */

/**
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function redisSemaphore({ store, leaseMs, tell }) {
  const client = new Redis(store);
  /** @param {Act} act @param {{ acquireAttemptsLimit?: number, acquireTimeout?: number }} waiting */
  const once = async (act, waiting) => {
    const onLockLost = () => tell('onLockLost()');
    const mutex = new Mutex(client, NAME, { lockTimeout: leaseMs, onLockLost, ...waiting });
    if (!(await mutex.tryAcquire())) return;
    try {
      await act(() => mutex.isAcquired);
    } finally {
      await mutex.release();
    }
  };
  return {
    schedule: eachTick((act) => once(act, { acquireAttemptsLimit: 1 })),
    hold: (act) => once(act, { acquireTimeout: Number.POSITIVE_INFINITY }),
  };
}
