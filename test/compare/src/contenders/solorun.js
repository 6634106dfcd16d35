// @ts-check

import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { schedule } from '@solorun/node-cron';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { NAME } from '../recipe.js';

/** @import { LockProvider } from '@solorun/core' */
/** @import { Recipe, Setting } from '../recipe.js' */

const DAY_MS = 86_400_000;

/** @type {Readonly<Record<string, (store: string) => LockProvider>>} */
export const providers = {
  lockfile: (directory) => lockfile({ directory }),
  advisory: (connectionString) => postgresAdvisory({ connectionString }),
  lease: (connectionString) => postgresLease({ connectionString }),
  redis: (url) => redis({ url }),
};

/**
 * @param {Setting} setting
 * @param {(store: string) => LockProvider} open
 * @returns {Promise<Recipe>}
 */
export async function solorun({ store, leaseMs, tell }, open) {
  const solo = createSolo({ provider: open(store), leaseMs });
  // A Redis that has just been started grants nothing for a lease, and here it always has been.
  await solo.run('first', () => {}, { onBusy: 'wait', waitMs: DAY_MS });
  return {
    schedule: (expression, act) => void schedule(solo, expression, ({ date }) => act(date), { name: NAME }),
    async hold(act) {
      await solo.run(
        NAME,
        async ({ signal }) => {
          signal.addEventListener('abort', () => tell('signal.aborted'));
          await act(() => !signal.aborted);
        },
        { onBusy: 'wait', waitMs: DAY_MS },
      );
    },
  };
}
