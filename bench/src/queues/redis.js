// @ts-check
// How one waits on Redis: by hand, and with other packages as they come.

import { Mutex } from 'redis-semaphore';
import { connectRedis, openRedlock, openVerrouOnRedis } from '../contenders/redis.js';
import { LOCK } from './queue.js';
import { signal } from './raw.js';

/** @import { Queue } from './queue.js' */

/** Nobody's lease ends while this goes on, in ms. */
const LEASE_MS = 3_600_000;
/** They take turns on one server, and each has a key of its own. */
const RAW = `raw:${LOCK}`;

/**
 * A key, and a message when it comes free.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function published(url) {
  const [client, ear] = [await connectRedis(url), await connectRedis(url)];
  const sha = /** @type {string} */ (
    await client.script('LOAD', `redis.call('PUBLISH', KEYS[1], '') return redis.call('DEL', KEYS[1])`)
  );
  const free = signal();
  ear.on('message', free.wake);
  await ear.subscribe(RAW);
  return {
    async take() {
      for (;;) {
        const woken = free.next();
        if ((await client.set(RAW, 'me', 'PX', LEASE_MS, 'NX')) === 'OK') return () => client.evalsha(sha, 1, RAW);
        await woken;
      }
    },
    close() {
      client.disconnect();
      ear.disconnect();
    },
  };
}

/**
 * Tries every 10 ms, its default.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function redisSemaphore(url) {
  const client = await connectRedis(url);
  return {
    async take() {
      const mutex = new Mutex(client, LOCK, { lockTimeout: LEASE_MS, acquireTimeout: LEASE_MS });
      await mutex.acquire();
      return () => mutex.release();
    },
    close: () => client.disconnect(),
  };
}

/**
 * Tries every 200 ms, give or take 100, its default; by default it gives up after ten tries.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function redlock(url) {
  const client = await connectRedis(url);
  const locks = openRedlock(client, { retryCount: -1 });
  return {
    async take() {
      const held = await locks.acquire([`redlock:${LOCK}`], LEASE_MS);
      return () => held.release();
    },
    close: () => client.disconnect(),
  };
}

/**
 * Tries every 250 ms, its default.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function verrou(url) {
  const client = await connectRedis(url);
  const locks = openVerrouOnRedis(client);
  return {
    async take() {
      const lock = locks.createLock(`verrou:${LOCK}`, LEASE_MS);
      await lock.acquire();
      return () => lock.release();
    },
    close: () => client.disconnect(),
  };
}
