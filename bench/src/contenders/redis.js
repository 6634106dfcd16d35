// @ts-check
// On Redis: the floor, and the packages that people use.

import { createRequire } from 'node:module';
import { Verrou } from '@verrou/core';
import { redisStore } from '@verrou/core/drivers/redis';
import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';

/** @import { Contender } from '../interleaved.js' */

// Its types are not where its manifest says.
const { default: Redlock } = createRequire(import.meta.url)('redlock');

const LEASE_MS = 30_000;
/** The least that a release can be: nobody else's key is removed. */
export const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * `SET NX PX` and a script that compares and deletes: no fence, no occurrence, no record.
 *
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function rawRedis(url) {
  const client = await connectRedis(url);
  const sha = /** @type {string} */ (await client.script('LOAD', RELEASE));
  return {
    ...{ id: 'raw', name: '`SET NX PX` and a compare-and-delete by EVALSHA', role: 'floor' },
    async cycle(lock) {
      const key = `raw-${lock}`;
      if ((await client.set(key, 'me', 'PX', LEASE_MS, 'NX')) !== 'OK') throw new Error('the lock is held');
      await client.evalsha(sha, 1, key, 'me');
    },
    close: () => client.disconnect(),
  };
}

/**
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function redisSemaphore(url) {
  const client = await connectRedis(url);
  return {
    ...{ id: 'redis-semaphore', name: 'redis-semaphore, Mutex', role: 'peer' },
    async cycle(lock) {
      const mutex = new Mutex(client, `semaphore-${lock}`, { lockTimeout: LEASE_MS, acquireAttemptsLimit: 1 });
      await mutex.acquire();
      await mutex.release();
    },
    close: () => client.disconnect(),
  };
}

/**
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function redlock(url) {
  const client = await connectRedis(url);
  const locks = openRedlock(client, { retryCount: 0 });
  return {
    ...{ id: 'redlock', name: 'redlock 5 beta, one server', role: 'peer' },
    async cycle(lock) {
      const held = await locks.acquire([`redlock-${lock}`], LEASE_MS);
      await held.release();
    },
    close: () => client.disconnect(),
  };
}

/**
 * @param {Redis} client
 * @param {{ retryCount?: number }} [settings]
 */
export function openRedlock(client, settings) {
  const locks = new Redlock([client], settings);
  // What a lost race says is told to the caller too.
  locks.on('error', () => {});
  return locks;
}

/** @param {Redis} client */
export function openVerrouOnRedis(client) {
  return new Verrou({ default: 'redis', stores: { redis: { driver: redisStore({ connection: client }) } } });
}

/**
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function verrouRedis(url) {
  const client = await connectRedis(url);
  const locks = openVerrouOnRedis(client);
  return {
    ...{ id: 'verrou', name: '@verrou/core on ioredis', role: 'peer' },
    async cycle(lock) {
      const [ran] = await locks.createLock(`verrou-${lock}`, LEASE_MS).runImmediately(async () => {});
      if (!ran) throw new Error('verrou: the lock is held');
    },
    close: () => client.disconnect(),
  };
}

/** @param {string} url */
export async function connectRedis(url) {
  const client = new Redis(url, { lazyConnect: true });
  // Told by the next command.
  client.on('error', () => {});
  await client.connect();
  return client;
}
