// @ts-check

import { faketimeMissing } from '@solorun/servers/clock';
import { startPostgres } from '@solorun/servers/postgres';
import pg from 'pg';
import { linksTo } from './links.js';

/** @import { Place, PlaceOptions } from '../places.js' */

/**
 * @param {'postgres:' | 'postgres+lease:'} scheme
 * @param {PlaceOptions} options
 * @returns {Promise<Place>}
 */
export async function postgres(scheme, options) {
  const server = await startPostgres({
    settings: { listen_addresses: options.network === 'namespace' ? '*' : '127.0.0.1', max_connections: 40 },
    ...(faketimeMissing() === undefined && options.ownClock ? { clockAheadMs: 0 } : {}),
  });
  const { links, end } = await linksTo(options, server.port, (where) => server.urlFor(where).replace(/^postgresql:/, scheme));
  return {
    links,
    postgres: server,
    async leftovers() {
      const sessions = await ask(
        server.url,
        "SELECT pid, application_name, state FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      return sessions.map((session) => JSON.stringify(session));
    },
    async stop() {
      await end();
      await server.stop();
    },
  };
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
