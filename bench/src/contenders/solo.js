// @ts-check

import { createSolo } from '@solorun/core';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';

/** @import { LockProvider, RunContext, RunOptions, RunResult } from '@solorun/core' */
/** @import { Contender } from '../interleaved.js' */
/** @import { Identity } from '../result.js' */

const names = Array.from({ length: 64 }, (_, lock) => `lock-${lock}`);

/**
 * `solo.run()` of a handler that does nothing, or as good as that.
 *
 * @param {Omit<Identity, 'role'>} identity
 * @param {LockProvider} provider
 * @param {(context: RunContext) => void} [handler]
 * @param {() => RunOptions} [options] of each run
 * @returns {Contender}
 */
export function soloRun(identity, provider, handler = () => {}, options) {
  const solo = createSolo({ provider });
  return {
    ...identity,
    role: 'ours',
    // Nothing of our own around it: a cycle in memory takes less than what that would cost.
    cycle:
      options === undefined
        ? (lock) => solo.run(names[lock] ?? '', handler)
        : (lock) => solo.run(names[lock] ?? '', handler, options()),
    check(result) {
      const { status } = /** @type {RunResult<void>} */ (result);
      if (status !== 'ran') throw new Error(`${identity.name}: ${status}`);
    },
    close: () => solo.close(),
  };
}

/** @param {string} url */
export function soloOnAdvisory(url) {
  return soloRun({ id: 'ours', name: '`run()` on `postgresAdvisory`' }, postgresAdvisory({ connectionString: url }));
}

/** @param {string} url */
export function soloOnLease(url) {
  return soloRun({ id: 'ours', name: '`run()` on `postgresLease`' }, postgresLease({ connectionString: url }));
}

/** @param {string} url */
export function soloOnRedis(url) {
  return soloRun({ id: 'ours', name: '`run()` on `redis`' }, redis({ url, settleMs: 0 }));
}
