import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo, LockTimeoutError, type LockProvider, type Refusal, type Solo } from '@solorun/core';
import { faketimeMissing } from '@solorun/servers/clock';
import { startRedis, type Redis } from '@solorun/servers/redis';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { redis, type RedisOptions } from '../src/index.ts';
import { markOf } from '../src/record.ts';
import * as scripts from '../src/scripts.ts';
import { parseInfo } from '../src/server.ts';
import { acquired, asked, askOf, missingHere, never, until } from './server.ts';

// For how long a server that may have forgotten leases grants nothing: as long as was observed, whatever its clock shows.
const missing = missingHere();
vi.setConfig({ testTimeout: 40_000 });
beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});

const LEASE_MS = 1_500;
const HOUR_MS = 3_600_000;

async function serverOf(options: NonNullable<Parameters<typeof startRedis>[0]> = {}): Promise<Redis> {
  // A replica need not wait for others to come.
  const server = await startRedis({ ...options, settings: { 'repl-diskless-sync-delay': 0, ...options.settings } });
  onTestFinished(() => server.stop());
  return server;
}

function open(server: Redis, options: Partial<RedisOptions> = {}): LockProvider {
  const provider = redis({ url: server.url, ...options });
  onTestFinished(() => provider.close());
  return provider;
}

function soloOn(server: Redis, leaseMs = LEASE_MS, options: Partial<RedisOptions> = {}): Solo {
  const solo = createSolo({ provider: open(server, options), leaseMs });
  onTestFinished(() => solo.close());
  return solo;
}

type Held = Extract<Refusal, { reason: 'held' }>;

async function refusalOf(provider: LockProvider, name: string, leaseMs: number): Promise<Held> {
  const answer = await provider.tryAcquire(asked(name, { leaseMs }), never);
  if (answer.acquired || answer.reason !== 'held') throw new Error(`${name} is not held`);
  return answer;
}

/** Whether a program that has just been started is granted a lease at its first try. */
async function grants(server: Redis, leaseMs = LEASE_MS, options: Partial<RedisOptions> = {}): Promise<boolean> {
  const provider = redis({ url: server.url, ...options });
  const answer = await provider.tryAcquire(asked('first try', { leaseMs }), never);
  if (answer.acquired) await provider.release(answer.grant, { result: 'done' }, never);
  else if (answer.reason !== 'held' || answer.settling !== true) throw new Error(`refused for another reason: ${answer.reason}`);
  await provider.close();
  return answer.acquired;
}

/** As if all who ask from now on ran on machines that have never been seen. */
async function forgetMachines(server: Redis): Promise<void> {
  const fields = (await askOf(server.port, 'HKEYS', 'solorun:observed')) as string[];
  await askOf(server.port, 'HDEL', 'solorun:observed', ...fields.filter((field) => field.startsWith('machine ')));
}

/** Keeps a server busy until its main thread has used so much time of a processor. */
async function compute(server: Redis, ms: number): Promise<void> {
  await until('it has computed', async () => {
    await askOf(server.port, 'EVAL', 'for i = 1, 2e7 do end', 0);
    return parseInfo(String(await askOf(server.port, 'INFO', 'cpu'))).computedMs >= ms;
  });
}

/** Until the first lease is granted. */
async function settle(server: Redis, leaseMs = LEASE_MS): Promise<void> {
  await soloOn(server, leaseMs).run('settled', () => {}, { onBusy: 'wait', waitMs: 20_000 });
}

it('grants at once to whoever comes after a client that has waited, for leases of that length', async () => {
  const server = await serverOf();
  expect(await grants(server)).toBe(false);
  await settle(server);
  await forgetMachines(server);
  expect(await grants(server)).toBe(true);
  expect(await grants(server, HOUR_MS)).toBe(false);
});

it('counts the time between programs of one machine that run for a moment each', async () => {
  const server = await serverOf();
  expect(await grants(server)).toBe(false);
  await sleep(LEASE_MS);
  expect(await grants(server)).toBe(true);
});

it('adds up what programs observe that wait for less than a lease each, on machines that were never seen before', async () => {
  const server = await serverOf();
  const results: unknown[] = [];
  for (let program = 1; program <= 3; program += 1) {
    const solo = soloOn(server);
    results.push(await solo.run('job', () => 'ran', { onBusy: 'wait', waitMs: LEASE_MS / 2 }).catch((error: unknown) => error));
    await solo.close();
    await forgetMachines(server);
  }
  expect(results[0]).toBeInstanceOf(LockTimeoutError);
  expect(results[2]).toMatchObject({ value: 'ran' });
});

it('grants at once on a server that has computed for longer than a lease, although no client has ever seen it', async () => {
  const server = await serverOf();
  await compute(server, 500);
  expect(await grants(server, 500)).toBe(true);
  expect(await grants(server, HOUR_MS)).toBe(false);
});

it('waits anew after a restart with data that tell of an earlier start, and for a replica that has computed as one', async () => {
  const server = await serverOf({ settings: { appendonly: 'yes', appendfsync: 'always' } });
  await settle(server);
  const replica = await server.replica();
  await compute(replica, LEASE_MS);
  await server.kill();
  await server.start();
  expect(await grants(server)).toBe(false);
  await askOf(replica.port, 'REPLICAOF', 'NO', 'ONE');
  expect(await grants(replica)).toBe(false);
  expect(await grants(replica, LEASE_MS, { prefix: 'unseen' })).toBe(false);
});

it('does not wait again when the server gets its first replica, which makes it change its replication id', async () => {
  const server = await serverOf();
  await settle(server);
  await server.replica();
  expect(await grants(server)).toBe(true);
});

it('waits as long as it is told to: not at all, or shorter than a lease', async () => {
  const server = await serverOf();
  expect(await grants(server, HOUR_MS, { settleMs: 0 })).toBe(true);
  const provider = open(server, { settleMs: 300, prefix: 'shorter' });
  const refusal = await refusalOf(provider, 'shorter', HOUR_MS);
  expect(refusal.settling).toBe(true);
  expect(refusal.expiresInMs).toBeLessThanOrEqual(300);
  const waited = await soloOn(server, HOUR_MS, { settleMs: 300, prefix: 'shorter' }).run('shorter', () => 1, {
    onBusy: 'wait',
    waitMs: 20_000,
  });
  expect(waited.status).toBe('ran');
});

it('takes over what looks held only as it was observed: nobody has renewed it since', async () => {
  const server = await serverOf();
  await acquired(open(server, { settleMs: 0 }), 'job', { leaseMs: HOUR_MS });
  const key = 'solorun:lock:job';
  const [owner, ends] = (await askOf(server.port, 'HMGET', key, 'owner', 'until')) as string[];
  const answerTo = async (over: string): Promise<unknown> => {
    const words = JSON.stringify(['next', '{}', HOUR_MS, over, false, false, false]);
    return ((await askOf(server.port, 'EVAL', scripts.acquire.lua, 1, key, words)) as unknown[])[0];
  };
  expect(await answerTo(markOf(owner!, String(Number(ends) + 1)))).toEqual(expect.arrayContaining(['held']));
  expect(await answerTo(markOf('another', ends!))).toEqual(expect.arrayContaining(['held']));
  expect(await answerTo(markOf(owner!, ends!))).toEqual(expect.any(Number));
});

const withoutFaketime = faketimeMissing();
if (withoutFaketime !== undefined) process.stderr.write(`SKIPPED: servers whose clocks are set. ${withoutFaketime}\n`);

describe.runIf(withoutFaketime === undefined || process.env['CI'] === 'true')(
  'when the clock of the server is set (needs faketime)',
  () => {
    it('tells the holder first, also if the server comes back with its clock behind, which is set right at once', async () => {
      const server = await serverOf({ clockAheadMs: 0 });
      const leaseMs = LEASE_MS * 2;
      await settle(server, leaseMs);
      const order: string[] = [];
      const lease = await soloOn(server, leaseMs).acquire('job', { waitMs: 0 });
      lease.signal.addEventListener('abort', () => order.push('holder told'));
      await server.kill();
      server.setClock(-HOUR_MS);
      await server.start();
      server.setClock(0);
      await soloOn(server, leaseMs).run('job', () => void order.push('next holds'), { onBusy: 'wait', waitMs: 20_000 });
      expect(order).toEqual(['holder told', 'next holds']);
    });

    it('waits for one lease at most, and not at all where a client has waited, after the clock was set back', async () => {
      const server = await serverOf({ clockAheadMs: 0 });
      await settle(server);
      server.setClock(-60_000);
      expect(await grants(server)).toBe(true);
      const unseen = open(server, { prefix: 'unseen' });
      const refusal = await refusalOf(unseen, 'job', LEASE_MS);
      expect(refusal.expiresInMs).toBeLessThanOrEqual(LEASE_MS);
    });

    it('follows a dead holder within two leases, with a greater fence, after the clock was set back', async () => {
      const server = await serverOf({ clockAheadMs: 0 });
      const dead = await acquired(open(server, { settleMs: 0 }), 'job', { leaseMs: LEASE_MS });
      server.setClock(-60_000);
      const watching = open(server, { settleMs: 0 });
      const refusal = await refusalOf(watching, 'job', LEASE_MS);
      expect(refusal.expiresInMs).toBeLessThanOrEqual(LEASE_MS);
      expect(refusal.heldForMs).toBe(0);
      const next = await soloOn(server, LEASE_MS, { settleMs: 0 }).run('job', ({ fence }) => fence, {
        onBusy: 'wait',
        waitMs: 20_000,
      });
      if (next.status !== 'ran') throw new Error(next.status);
      expect(next.value).toBeGreaterThan(dead.fence);
    });

    it('wakes a waiter that polls by itself, for no clock of the server ends the lease it waits for', async () => {
      const server = await serverOf({ clockAheadMs: 0 });
      await acquired(open(server, { settleMs: 0 }), 'job', { leaseMs: LEASE_MS });
      server.setClock(-60_000);
      const provider = open(server, { settleMs: 0 });
      await provider.untilFree!(asked('job'), never);
      expect(await provider.tryAcquire(asked('job'), never)).toMatchObject({ acquired: true });
    });

    it('keeps the lease of a holder that lives, after the clock was set back', async () => {
      const server = await serverOf({ clockAheadMs: 0 });
      const holder = open(server, { settleMs: 0 });
      const grant = await acquired(holder, 'job', { leaseMs: LEASE_MS });
      server.setClock(-60_000);
      const other = open(server, { settleMs: 0 });
      expect(await other.tryAcquire(asked('job'), never)).toMatchObject({ reason: 'held' });
      await sleep(LEASE_MS * 0.75);
      expect(await holder.renew(grant, never)).toBe(true);
      await sleep(LEASE_MS * 0.5);
      // For a whole lease it was seen, but not unchanged.
      expect(await other.tryAcquire(asked('job'), never)).toMatchObject({ reason: 'held' });
    });
  },
);
