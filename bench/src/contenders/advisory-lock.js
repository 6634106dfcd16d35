// @ts-check

import advisoryLock from 'advisory-lock';

/** @import { Contender } from '../interleaved.js' */

/**
 * A connection for each acquisition.
 *
 * @param {string} url
 * @returns {Contender}
 */
export function advisoryLockPackage(url) {
  const mutexFor = advisoryLock.default(url);
  return {
    ...{ id: 'advisory-lock', name: 'advisory-lock', role: 'peer' },
    cycle: (lock) => mutexFor(`lock-${lock}`).withLock(async () => {}),
  };
}
