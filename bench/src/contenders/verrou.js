// @ts-check

import { Verrou } from '@verrou/core';
import { kyselyStore } from '@verrou/core/drivers/kysely';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';

/** @import { Contender } from '../interleaved.js' */

/**
 * The package, on a pool of ten connections.
 *
 * @param {string} url
 */
export function openVerrou(url) {
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  pool.on('error', () => {});
  const database = new Kysely({ dialect: new PostgresDialect({ pool }) });
  const locks = new Verrou({ default: 'postgres', stores: { postgres: { driver: kyselyStore({ connection: database }) } } });
  return { locks, close: () => database.destroy() };
}

/**
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function verrou(url) {
  const { locks, close } = openVerrou(url);
  // The first use makes the table, and must not race with another one.
  await locks.createLock('first', 30_000).run(async () => {});
  return {
    ...{ id: 'verrou', name: '@verrou/core on kysely, a pool of 10', role: 'peer' },
    async cycle(lock) {
      const [ran] = await locks.createLock(`lock-${lock}`, 30_000).runImmediately(async () => {});
      if (!ran) throw new Error('verrou: the lock is held');
    },
    close,
  };
}
