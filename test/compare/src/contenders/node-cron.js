// @ts-check

import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { schedule, setRunCoordinator } from 'node-cron';
import { NAME } from '../recipe.js';

/** @import { Recipe, Setting } from '../recipe.js' */

const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * A coordinator as node-cron's guide describes one on Redis: it claims the key of the tick, and releases it at the end.
 *
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function nodeCron({ store, leaseMs }) {
  const client = new Redis(store);
  /** @type {Map<string, string>} */
  const tokens = new Map();
  setRunCoordinator({
    async shouldRun(key, ttlMs) {
      const token = randomUUID();
      if ((await client.set(key, token, 'PX', ttlMs, 'NX')) !== 'OK') return false;
      tokens.set(key, token);
      return true;
    },
    async onComplete(key) {
      await client.eval(RELEASE, 1, key, tokens.get(key) ?? '');
      tokens.delete(key);
    },
  });
  const options = { name: NAME, distributed: true, distributedLease: leaseMs, noOverlap: true };
  return {
    schedule: (expression, act) => void schedule(expression, ({ date }) => act(date), options),
    hold: (act) =>
      new Promise((resolve, reject) => {
        schedule('* * * * * *', () => act().then(resolve, reject), options);
      }),
  };
}
