// @ts-check
// The floors on Postgres: what somebody writes who wants nothing but the lock. Statements are named, so the server parses them once.

import { connect } from './connect.js';

/** @import { Contender } from '../interleaved.js' */

/**
 * Two round trips that do nothing.
 *
 * @param {string} url
 * @returns {Promise<Contender>}
 */
export async function twoSelects(url) {
  const client = await connect(url);
  const select = { name: 'nothing', text: 'SELECT 1' };
  return {
    ...{ id: 'selects', name: 'SELECT 1, twice', role: 'aside' },
    async cycle() {
      await client.query(select);
      await client.query(select);
    },
    close: () => client.end(),
  };
}

/**
 * @param {string} url
 * @param {{ pipeline?: boolean }} [options]
 * @returns {Promise<Contender>}
 */
export async function rawAdvisory(url, { pipeline = false } = {}) {
  const client = await connect(url, { pipeline });
  return {
    ...{ id: 'raw', role: 'floor' },
    name: `pg_try_advisory_lock and pg_advisory_unlock${pipeline ? ', pipelined on one connection' : ', prepared'}`,
    async cycle(lock) {
      const values = [lock];
      const tried = await client.query({ name: 'try', text: 'SELECT pg_try_advisory_lock($1::bigint) AS got', values });
      if (tried.rows[0].got !== true) throw new Error('the lock is held');
      await client.query({ name: 'unlock', text: 'SELECT pg_advisory_unlock($1::bigint)', values });
    },
    close: () => client.end(),
  };
}

/** A row per lease with its owner and its end: the least that a lease can be. */
export const RAW_LEASE = {
  table: `CREATE TABLE IF NOT EXISTS raw_lease (name text PRIMARY KEY, owner text NOT NULL, expires_at timestamptz NOT NULL)
    WITH (fillfactor = 70)`,
  acquire: {
    name: 'acquire',
    text: `INSERT INTO raw_lease AS l VALUES ($1, $2, clock_timestamp() + interval '30 s')
      ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
      WHERE l.expires_at <= clock_timestamp() RETURNING owner`,
  },
  release: { name: 'release', text: `UPDATE raw_lease SET expires_at = '-infinity' WHERE name = $1 AND owner = $2` },
};

/**
 * A committed upsert and a committed update. Ours flush both to the disk, so these do.
 *
 * @param {string} url
 * @param {{ pipeline?: boolean }} [options]
 * @returns {Promise<Contender>}
 */
export async function rawLease(url, { pipeline = false } = {}) {
  const client = await connect(url, { pipeline });
  await client.query(RAW_LEASE.table);
  return {
    ...{ id: 'raw', role: 'floor' },
    name: `an upsert and an update of a minimal row${pipeline ? ', pipelined on one connection' : ', prepared'}`,
    async cycle(lock) {
      const values = [`lock-${lock}`, 'me'];
      if ((await client.query({ ...RAW_LEASE.acquire, values })).rowCount !== 1) throw new Error('the lease is held');
      await client.query({ ...RAW_LEASE.release, values });
    },
    close: () => client.end(),
  };
}
