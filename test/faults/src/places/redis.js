// @ts-check

import { startRedis, startRedisCluster } from '@solorun/servers/redis';
import { Redis } from 'ioredis';
import { linksTo } from './links.js';

/** @import { Place, PlaceOptions } from '../places.js' */

/**
 * @param {PlaceOptions} options
 * @param {{ cluster?: boolean }} [kind] `cluster`: a Redis Cluster of one shard, by the plain URL of its node.
 * @returns {Promise<Place>}
 */
export async function redis(options, { cluster = false } = {}) {
  const bind = options.needs === 'namespaces' ? '*' : '127.0.0.1';
  const nodes = cluster
    ? (await startRedisCluster({ shards: 1 })).nodes
    : [
        await startRedis({
          settings: { bind, 'protected-mode': 'no' },
          ...(options.needs === 'server clock' ? { clockAheadMs: 0 } : {}),
        }),
      ];
  const [server] = nodes;
  if (server === undefined) throw new Error('no Redis');
  // A server that has just been started grants nothing for a lease. No holder was there before it.
  const { links, end } = await linksTo(options, server.port, ({ host, port }) => `redis://${host}:${port}`);
  return {
    links,
    redis: server,
    async leftovers() {
      const list = await command(server.url, 'CLIENT', 'LIST');
      return String(list)
        .split('\n')
        .filter((line) => line !== '' && !line.includes('cmd=client|list'));
    },
    async stop() {
      await end();
      await server.stop();
    },
  };
}

/**
 * One command on a connection of its own, past all proxies.
 *
 * @param {string} url
 * @param {string} name
 * @param {readonly (string | number)[]} args
 */
export async function command(url, name, ...args) {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null, lazyConnect: true });
  client.on('error', () => {});
  try {
    await client.connect();
    return await client.call(name, ...args);
  } finally {
    client.disconnect();
  }
}
