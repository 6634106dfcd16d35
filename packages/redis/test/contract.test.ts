import type { LockProvider } from '@solorun/core';
import { providerContract } from '@solorun/core/testing';
import { startRedis, startRedisCluster } from '@solorun/servers/redis';
import { Cluster, Redis } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis-5';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { redis } from '../src/index.ts';
import { missingHere } from './server.ts';

/** Another server instead of the one that the tests bring along. */
const elsewhere = process.env['SOLORUN_TEST_REDIS_URL'];
const missing = elsewhere === undefined ? missingHere() : undefined;

function contract(kinds: Readonly<Record<string, () => LockProvider>>): void {
  describe.concurrent.each(Object.keys(kinds))('%s', (kind) => {
    for (const { name, guarantee, run } of providerContract({ open: kinds[kind]!, leaseMs: 1_000 })) {
      it(`${guarantee}: ${name}`, async ({ expect }) => {
        await expect(run()).resolves.toBeUndefined();
      });
    }
  });
}

describe.runIf(missing === undefined)('on one server', () => {
  const clients: (Redis | Redis5)[] = [];
  let url = elsewhere ?? '';
  let stop = async (): Promise<void> => {};
  beforeAll(async () => {
    if (elsewhere === undefined) {
      const server = await startRedis();
      url = server.url;
      stop = () => server.stop();
    }
    clients.push(
      new Redis(url, { keyPrefix: 'app:', enableOfflineQueue: false, lazyConnect: true }),
      new Redis5(url, { enableAutoPipelining: true, stringNumbers: true, commandTimeout: 1_000 }),
    );
  });
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await stop();
  });

  contract({
    'with a URL': () => redis({ url, settleMs: 0 }),
    'with a client of ioredis 6 that has a prefix and no queue': () => redis({ client: clients[0]!, settleMs: 0 }),
    'with a client of ioredis 5 that makes pipelines of its own': () =>
      redis({ client: clients[1]!, prefix: 'odd {prefix} *?[\\', settleMs: 0 }),
  });
});

describe.runIf(missing === undefined && elsewhere === undefined)('on a cluster', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let alone: typeof cluster;
  const clients: (Cluster | Cluster5)[] = [];
  beforeAll(async () => {
    [cluster, alone] = await Promise.all([startRedisCluster(), startRedisCluster({ shards: 1 })]);
    const { port } = cluster.nodes[0]!;
    clients.push(
      new Cluster([{ host: '127.0.0.1', port }], { keyPrefix: 'app:' }),
      new Cluster5([{ host: '127.0.0.1', port }], { enableOfflineQueue: false, lazyConnect: true }),
    );
  }, 60_000);
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await cluster?.stop();
    await alone?.stop();
  });

  contract({
    'with a client of ioredis 6': () => redis({ client: clients[0]! }),
    'with a client of ioredis 5': () => redis({ client: clients[1]! }),
    'with the URL of one of its nodes': () => redis({ url: cluster.nodes[1]!.url }),
    'with the URL of its only node': () => redis({ url: alone.nodes[0]!.url, settleMs: 0 }),
  });
});
