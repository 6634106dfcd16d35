import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createSolo, type Solo } from '@solorun/core';
import { startProxy, type Proxy } from '@solorun/servers/network';
import { startRedisCluster } from '@solorun/servers/redis';
import { expect, it, onTestFinished } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, never, onRedis, until } from './server.ts';

// Counted and not timed: what a lock costs a server.
const stage = onRedis();

async function proxied(): Promise<Proxy> {
  const proxy = await startProxy({ port: stage.server.port });
  onTestFinished(() => proxy.stop());
  return proxy;
}

function soloOn(url = stage.server.url, leaseMs = 30_000): Solo {
  const solo = createSolo({ provider: redis({ url, settleMs: 0 }), leaseMs });
  onTestFinished(() => solo.close());
  return solo;
}

/** Of the server's own count: how often a command was called by clients, those inside scripts left out. */
async function calls(command: string): Promise<number> {
  const stats = String(await stage.ask('INFO', 'commandstats'));
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

async function clients(): Promise<number> {
  return String(await stage.ask('CLIENT', 'LIST'))
    .split('\n')
    .filter((line) => line.includes('name=solorun')).length;
}

it('acquires and releases with two round trips and no connection, occurrence and fence included', async () => {
  const proxy = await proxied();
  const provider = stage.open(redis({ url: proxy.through(stage.server.url), settleMs: 0 }));
  await provider.release(await acquired(provider, 'two'), { result: 'done' }, never);
  for (let round = 1; round <= 10; round += 1) {
    const [trips, connections] = [proxy.roundTrips, proxy.connections];
    const grant = await acquired(provider, 'two', { occurrence: { at: new Date(round), attempts: 1 } });
    expect(grant.fence).toBeGreaterThan(0n);
    expect(proxy.roundTrips - trips).toBe(1);
    await provider.release(grant, { result: 'done' }, never);
    expect([proxy.roundTrips - trips, proxy.connections - connections]).toEqual([2, 0]);
  }
});

it('asks for all that is wanted in one turn with one round trip, sixteen names to a script', async () => {
  const proxy = await proxied();
  const solo = soloOn(proxy.through(stage.server.url));
  await solo.run('warm', () => {});
  const [trips, scripts] = [proxy.roundTrips, await calls('evalsha')];
  const leases = await Promise.all(Array.from({ length: 64 }, (_, n) => solo.tryAcquire(`turn ${n}`)));
  expect(leases.every((lease) => lease !== undefined)).toBe(true);
  expect(proxy.roundTrips - trips).toBe(1);
  expect((await calls('evalsha')) - scripts).toBe(4);
});

it('200 waiters on one name cost a command a second at most, and two connections', { timeout: 40_000 }, async () => {
  const holder = soloOn();
  const lease = await holder.acquire('popular', { waitMs: 0 });
  const [before, beforeClients] = [await calls('evalsha'), await clients()];
  const waiting = soloOn();
  let got = 0;
  const waits = Array.from({ length: 200 }, () => waiting.run('popular', () => (got += 1), { onBusy: 'wait', waitMs: 60_000 }));
  await until('it waits', async () => (await calls('subscribe')) > 0);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect((await clients()) - beforeClients).toBe(2);
  const started = performance.now();
  const first = await calls('evalsha');
  await new Promise((resolve) => setTimeout(resolve, 8_000));
  const perSecond = ((await calls('evalsha')) - first) / ((performance.now() - started) / 1_000);
  expect(perSecond).toBeLessThanOrEqual(1);
  expect(first - before).toBeLessThanOrEqual(6);
  await lease.release();
  await Promise.all(waits);
  expect(got).toBe(200);
});

it('hands a lock on with two scripts, the release and the next try: who waits is told and need not look', async () => {
  const [holder, waiter] = [soloOn(), soloOn()];
  const lease = await holder.acquire('handed on', { waitMs: 0 });
  const waiting = waiter.acquire('handed on', { waitMs: 60_000 });
  await until('it listens', async () => String(await stage.ask('PUBSUB', 'CHANNELS')).includes('handed on'));
  // The look that follows is over.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const before = await calls('evalsha');
  await lease.release();
  await (await waiting).release();
  expect((await calls('evalsha')) - before).toBe(3);
});

it('renews 1,000 leases with one script', { timeout: 40_000 }, async () => {
  const solo = soloOn(stage.server.url, 3_000);
  const leases = await Promise.all(Array.from({ length: 1_000 }, (_, n) => solo.acquire(`renewed ${n}`, { waitMs: 0 })));
  const [before, at] = [await calls('evalsha'), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 3_600));
  const rounds = Math.ceil((performance.now() - at) / 1_000) + 1;
  const scripts = (await calls('evalsha')) - before;
  expect(scripts).toBeGreaterThanOrEqual(2);
  expect(scripts).toBeLessThanOrEqual(rounds);
  expect(leases.every(({ signal }) => !signal.aborted)).toBe(true);
});

it('does not keep a process alive that has a lease, and ends without a word', () => {
  expect(forgetToClose(stage.server.url)).toEqual({ status: 0, stderr: '' });
});

it('does not keep one alive that has leases on the nodes of a cluster', { timeout: 60_000 }, async () => {
  const { nodes, stop } = await startRedisCluster();
  onTestFinished(stop);
  expect(forgetToClose(nodes[0]!.url, 'cluster')).toEqual({ status: 0, stderr: '' });
});

it('leaves no timer behind that would keep a process alive when it could not connect', () => {
  const { stdout } = run('cannot-connect', 'redis://127.0.0.1:1');
  expect(JSON.parse(stdout)).toEqual({ error: expect.stringContaining('ECONNREFUSED') as string, timers: [] });
});

function forgetToClose(...args: string[]): { readonly status: number | null; readonly stderr: string } {
  const { status, stderr } = run('forgets-to-close', ...args);
  return { status, stderr };
}

function run(program: string, ...args: string[]): SpawnSyncReturns<string> {
  const file = fileURLToPath(new URL(`programs/${program}.js`, import.meta.url));
  return spawnSync(process.execPath, [file, ...args], { encoding: 'utf8', timeout: 15_000 });
}
