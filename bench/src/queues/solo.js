// @ts-check

import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { LOCK } from './queue.js';

/** @import { LockProvider } from '@solorun/core' */
/** @import { Queue } from './queue.js' */

/** @param {string} url */
export function onAdvisory(url) {
  return onProvider(postgresAdvisory({ connectionString: url }));
}

/** @param {string} url */
export function onLease(url) {
  return onProvider(postgresLease({ connectionString: url }));
}

/** @param {string} url */
export function onRedis(url) {
  return onProvider(redis({ url, settleMs: 0 }));
}

/** @param {string} directory */
export function onLockfile(directory) {
  return onProvider(lockfile({ directory }));
}

/**
 * As a program does it: a run that waits its turn, from the start of its handler to its end.
 *
 * @param {LockProvider} provider
 * @returns {Promise<Queue>}
 */
async function onProvider(provider) {
  const solo = createSolo({ provider });
  // Connections are open before there is anything to wait for.
  await solo.run(`warm-${process.pid}`, () => {});
  return {
    take: () =>
      new Promise((resolve, reject) => {
        const run = solo.run(
          LOCK,
          () =>
            new Promise((end) => {
              resolve(() => {
                end(undefined);
                return run;
              });
            }),
          { onBusy: 'wait', waitMs: 3_600_000 },
        );
        run.catch(reject);
      }),
    keep: (count) => Promise.all(Array.from({ length: count }, (_, lock) => solo.acquire(`kept-${lock}`, { waitMs: 0 }))),
    close: () => solo.close(),
  };
}
