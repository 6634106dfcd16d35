import { startRedis, startRedisCluster, type Redis as RedisServer } from '@solorun/servers/redis';
import type { Finding } from '@solorun/core';
import { Cluster } from 'ioredis';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { redis, type RedisOptions } from '../src/index.ts';
import { missingHere } from './server.ts';

const missing = missingHere();
beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});

async function started(settings: Readonly<Record<string, string | number>> = {}): Promise<RedisServer> {
  const server = await startRedis({ settings });
  onTestFinished(() => server.stop());
  return server;
}

async function examined(options: RedisOptions): Promise<readonly Finding[] | undefined> {
  const provider = redis(options);
  onTestFinished(() => provider.close());
  return provider.examine?.();
}

it('examines the server before anything was locked there', async () => {
  const findings = await examined({ url: (await started()).url });
  expect(findings?.map(({ check, state }) => [check, state])).toEqual([
    ['server', 'ok'],
    ['role', 'ok'],
    ['persistence', 'note'],
    ['memory', 'ok'],
  ]);
});

it('examines each primary of a cluster', { timeout: 60_000 }, async () => {
  const { nodes, stop } = await startRedisCluster({ shards: 3 });
  onTestFinished(stop);
  const client = new Cluster([nodes[0]!.url], { lazyConnect: true });
  onTestFinished(() => client.disconnect());
  const roles = ((await examined({ client })) ?? []).filter(({ check }) => check.startsWith('role '));
  expect(roles.map(({ check }) => check).sort()).toEqual(nodes.map(({ url }) => `role of ${new URL(url).host}`).sort());
});

it('finds a server that is not there unreachable', async () => {
  expect(await examined({ url: 'redis://127.0.0.1:1' })).toMatchObject([
    { check: 'server', state: 'unreachable', says: expect.stringContaining('ECONNREFUSED') as string },
  ]);
});
