// @ts-check

import { startPgbouncer } from '@solorun/servers/pgbouncer';
import { startPostgres } from '@solorun/servers/postgres';
import pg from 'pg';
import { linksTo } from './links.js';

/** @import { Place, PlaceOptions } from '../places.js' */

/** How many sessions the pooler has: enough for all replicas, and not for anybody beside them. */
export const POOLED = 15;

/**
 * @param {'postgres:' | 'postgres+lease:'} scheme
 * @param {PlaceOptions} options
 * @returns {Promise<Place>}
 */
export async function postgres(scheme, options) {
  const { needs, replicas } = options;
  const server = await startPostgres({
    settings: {
      listen_addresses: needs === 'namespaces' ? '*' : '127.0.0.1',
      // A commit is answered when the next one in the chain has it.
      ...(needs === 'standbys' ? { synchronous_standby_names: '*' } : { max_connections: 40 }),
    },
    ...(needs === 'server clock' ? { clockAheadMs: 0 } : {}),
  });
  const storeOf = (/** @type {string} */ url) => url.replace(/^postgresql:/, scheme);
  if (needs === 'standbys') {
    const second = await server.standby();
    const standbys = [second, await second.standby({ synchronous_standby_names: '' })];
    const all = [server, ...standbys];
    const hosts = all.map(({ port }) => `127.0.0.1:${port}`).join();
    const store = storeOf(server.url.replace(/127\.0\.0\.1:\d+/, hosts));
    /** @type {Place} */
    const place = {
      links: Array.from({ length: replicas }, () => ({ store, network: undefined })),
      postgres: server,
      standbys,
      leftovers: () => sessionsOn(place.postgres ?? server),
      async stop() {
        for (const each of all.toReversed()) await each.stop();
      },
    };
    return place;
  }
  const pooler =
    needs === 'pooler'
      ? await startPgbouncer({ postgres: server, mode: 'session', settings: { default_pool_size: POOLED } })
      : undefined;
  const { links, end } = await linksTo(options, (pooler ?? server).port, (where) => storeOf(server.urlFor(where)));
  return {
    links,
    postgres: server,
    ...(pooler === undefined ? {} : { pooler }),
    // A pooler keeps its own sessions.
    leftovers: () => (pooler === undefined ? sessionsOn(server) : clientsOf(pooler)),
    async stop() {
      await end();
      await pooler?.stop();
      await server.stop();
    },
  };
}

/** @param {import('@solorun/servers/postgres').Postgres} server */
async function sessionsOn({ url }) {
  const sessions = await ask(
    url,
    "SELECT pid, application_name, state FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
  );
  return sessions.map((session) => JSON.stringify(session));
}

/** @param {import('@solorun/servers/pgbouncer').Pgbouncer} pooler */
async function clientsOf(pooler) {
  const clients = await ask(pooler.console, 'SHOW CLIENTS');
  return clients.filter(({ database }) => database !== 'pgbouncer').map((client) => JSON.stringify(client));
}

/**
 * One statement on a connection of its own, past all proxies.
 *
 * @param {string} url
 * @param {string} text
 * @param {readonly unknown[]} [values]
 * @returns {Promise<Record<string, unknown>[]>}
 */
export async function ask(url, text, values = []) {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(text, [...values])).rows;
  } finally {
    await client.end();
  }
}
