// @ts-check
// Where the locks of a trial are kept: a server or a directory of its own.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guard } from '@solorun/servers/guard';
import { startPostgres } from '@solorun/servers/postgres';
import { startRedis } from '@solorun/servers/redis';
import { Redis } from 'ioredis';
import pg from 'pg';

/** @typedef {'redis' | 'redis with a log' | 'postgres' | 'files'} StoreKind */

/**
 * @typedef {object} Server
 * @property {number} port
 * @property {() => Promise<void>} kill As when the machine fails.
 * @property {() => Promise<void>} start
 * @property {() => Promise<void>} endConnections An administrator ends all connections of clients.
 */

/**
 * @typedef {object} Place
 * @property {string} store
 * @property {string} directory For journals.
 * @property {Server} [server]
 * @property {() => Promise<void>} stop
 */

/**
 * @param {StoreKind} kind
 * @returns {Promise<Place>}
 */
export async function openPlace(kind) {
  const directory = mkdtempSync(join(tmpdir(), 'solorun-compare-'));
  const forget = guard({ directory });
  const stop = async () => {
    rmSync(directory, { recursive: true, force: true });
    forget();
  };
  if (kind === 'files') return { store: directory, directory, stop };
  const { server, store } = kind === 'postgres' ? await postgres() : await redis({ isLogged: kind === 'redis with a log' });
  return {
    store,
    directory,
    server,
    async stop() {
      await server.stop();
      await stop();
    },
  };
}

async function postgres() {
  const server = await startPostgres();
  const endConnections = async () => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    await client.end();
  };
  return { store: server.url, server: { ...server, port: server.port, endConnections } };
}

/** @param {{ isLogged: boolean }} options */
async function redis({ isLogged }) {
  const server = await startRedis(isLogged ? { settings: { appendonly: 'yes' } } : {});
  const endConnections = async () => {
    const client = new Redis(server.url);
    for (const type of ['normal', 'pubsub']) await client.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
    client.disconnect();
  };
  return { store: server.url, server: { ...server, port: server.port, endConnections } };
}
