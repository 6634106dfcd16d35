// @ts-check
// How other packages wait, as they come.

import { join } from 'node:path';
import advisoryLockPackage from 'advisory-lock';
import { lock as lockProperly } from 'proper-lockfile';
import { openVerrou } from '../contenders/verrou.js';
import { LOCK } from './queue.js';

/** @import { Queue } from './queue.js' */

/**
 * @param {string} url
 * @returns {Queue}
 */
export function advisoryLock(url) {
  const mutexFor = advisoryLockPackage.default(url);
  return { take: () => mutexFor(LOCK).lock() };
}

/**
 * Tries every 250 ms, its default.
 *
 * @param {string} url
 * @returns {Queue}
 */
export function verrou(url) {
  const { locks, close } = openVerrou(url);
  return {
    async take() {
      const lock = locks.createLock(LOCK, 3_600_000);
      await lock.acquire();
      return () => lock.release();
    },
    close,
  };
}

/**
 * By default it does not wait at all; here it tries every 100 ms.
 *
 * @param {string} directory
 * @returns {Queue}
 */
export function proper(directory) {
  const retries = { forever: true, factor: 1, minTimeout: 100, maxTimeout: 100 };
  return { take: () => lockProperly(join(directory, LOCK), { realpath: false, retries }) };
}
