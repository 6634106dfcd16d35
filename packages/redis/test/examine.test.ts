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

it('finds a server unsafe only if it throws away keys that never expire, as ours do', async () => {
  const memoryOf = async (settings: Readonly<Record<string, string>>): Promise<string | undefined> =>
    (await examined({ url: (await started(settings)).url }))?.find(({ check }) => check === 'memory')?.state;
  expect(await memoryOf({ maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' })).toBe('unsafe');
  expect(await memoryOf({ maxmemory: '64mb', 'maxmemory-policy': 'volatile-lru' })).toBe('ok');
  // Without a limit there is nothing to be thrown away.
  expect(await memoryOf({ 'maxmemory-policy': 'allkeys-lru' })).toBe('ok');
});

it('finds out less where INFO was renamed away, and does not take the server for one that is away', async () => {
  expect(await examined({ url: (await started({ 'rename-command': 'INFO ""' })).url })).toMatchObject([
    { check: 'server', state: 'note' },
  ]);
});

it('finds a server that is not there unreachable', async () => {
  expect(await examined({ url: 'redis://127.0.0.1:1' })).toMatchObject([
    { check: 'server', state: 'unreachable', says: expect.stringContaining('ECONNREFUSED') as string },
  ]);
});
