import { createSolo, type Solo } from '@solorun/core';
import { startRedis, startRedisCluster, type Redis } from '@solorun/servers/redis';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { redis } from '../src/index.ts';
import { askOf, failureOf, missingHere, until } from './server.ts';

// A URL of a server that turns out to be a node of a Redis Cluster.
const missing = missingHere();
vi.setConfig({ testTimeout: 60_000 });
beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});

const LEASE_MS = 2_000;

async function clusterOf(shards: 1 | 3): Promise<readonly Redis[]> {
  const { nodes, stop } = await startRedisCluster({ shards });
  onTestFinished(stop);
  return nodes;
}

function soloOn(url: string, leaseMs = LEASE_MS): Solo {
  const solo = createSolo({ provider: redis({ url, settleMs: 0 }), leaseMs });
  onTestFinished(() => solo.close());
  return solo;
}

const NAMES = Array.from({ length: 20 }, (_, n) => `job ${n}`);

it.each([1, 3] as const)('keeps leases side by side on a cluster of %d, whose URL looks like any other', async (shards) => {
  const [node] = await clusterOf(shards);
  const solo = soloOn(node!.url);
  const leases = await Promise.all(NAMES.map(async (name) => solo.acquire(name, { waitMs: 0 })));
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 1.5));
  expect(leases.filter(({ signal }) => signal.aborted)).toEqual([]);
  const held: string[] = [];
  for await (const record of solo.list()) if (record.held) held.push(record.name);
  expect(held.sort()).toEqual([...NAMES].sort());
  await Promise.all(leases.map(async (lease) => lease.release()));
});

it('waits on a cluster of one shard after a start, as on any other server', async () => {
  const [node] = await clusterOf(1);
  const solo = createSolo({ provider: redis({ url: node!.url }), leaseMs: 60_000 });
  onTestFinished(() => solo.close());
  expect(await solo.run('job', () => {})).toMatchObject({ status: 'skipped', reason: 'held' });
});

it('finds all keys again when the only node of a cluster has given some of them to a second one', async () => {
  const [node] = await clusterOf(1);
  const solo = soloOn(node!.url);
  await solo.run('before', () => {});
  await using other = await startRedis({ settings: { 'cluster-enabled': 'yes', 'cluster-node-timeout': 2_000 } });
  await askOf(node!.port, 'CLUSTER', 'MEET', '127.0.0.1', other.port);
  const known = async (): Promise<boolean> => String(await askOf(other.port, 'CLUSTER', 'INFO')).includes('cluster_known_nodes:2');
  await until('they know each other', known);
  await askOf(node!.port, 'CLUSTER', 'DELSLOTSRANGE', 0, 8_191);
  const id = String(await askOf(other.port, 'CLUSTER', 'MYID'));
  await askOf(other.port, 'CLUSTER', 'ADDSLOTSRANGE', 0, 8_191);
  await askOf(node!.port, 'CLUSTER', 'SETSLOT', 0, 'NODE', id);
  const ran = new Set<string>();
  // A try may find a name held by the try before it, whose answer was lost with the connection.
  const runAll = async (): Promise<boolean> => {
    await Promise.allSettled(NAMES.map(async (name) => solo.run(name, () => void ran.add(name))));
    return ran.size === NAMES.length;
  };
  const warned = vi.fn<(warning: Error) => void>();
  process.on('warning', warned);
  await until('all of them run', runAll);
  process.off('warning', warned);
  expect(warned.mock.calls.map(([{ name }]) => name)).not.toContain('MaxListenersExceededWarning');
});

it('names the way out where the nodes of a cluster cannot be reached at the addresses that they announce', async () => {
  const nodes = await clusterOf(3);
  for (const { port } of nodes) await askOf(port, 'CONFIG', 'SET', 'cluster-announce-port', 1);
  const announced = async (): Promise<boolean> => {
    const slots = await Promise.all(nodes.map(async ({ port }) => askOf(port, 'CLUSTER', 'SLOTS')));
    return slots.every((all) => (all as [number, number, [string, number]][]).every(([, , [, port]]) => port === 1));
  };
  await until('all announce it', announced);
  const error = await failureOf(soloOn(nodes[0]!.url).run('job', () => {}));
  expect(error.message).toMatch(/belongs to a Redis Cluster, and its nodes cannot be reached.*new Cluster\(.*natMap/);
});
