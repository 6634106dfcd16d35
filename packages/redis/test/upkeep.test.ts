import type { LockProvider } from '@solorun/core';
import { faketimeMissing } from '@solorun/servers/clock';
import { startRedis } from '@solorun/servers/redis';
import { describe, expect, it, vi } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, askOf, asked, never, onRedis } from './server.ts';

// Pauses, and records that go away: what the contract cannot see.
const stage = onRedis();
const HOUR_US = 3_600_000_000;

function open(url = stage.server.url): LockProvider {
  return stage.open(redis({ url, settleMs: 0 }));
}

async function allOf<T>(each: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of each) all.push(one);
  return all;
}

async function ran(provider: LockProvider, name: string): Promise<bigint> {
  const grant = await acquired(provider, name, { history: true });
  await provider.release(grant, { result: 'done' }, never);
  return grant.fence;
}

describe('a pause', () => {
  it('leaves nothing of a name that was never acquired: when it is ended, and when it is over and somebody lists', async () => {
    const provider = open();
    for (const name of ['never/ended', 'never/over']) await provider.pause(name, { forMs: 60_000, by: 'kim' }, never);
    expect(await allOf(provider.list('never/'))).toEqual([]);
    expect(await provider.inspect('never/over')).toBeUndefined();
    expect(await provider.runs('never/over', 9)).toEqual([]);
    expect(await provider.reopen('never/over', never)).toBeUndefined();
    expect(await provider.forget('never/over', { untouchedForMs: 0 }, never)).toBe(false);
    expect((await allOf(provider.pauses('never/'))).length).toBe(2);
    expect(await provider.resume('never/ended', never)).toBe(true);
    await provider.pause('never/over', { until: new Date(Date.now() - 1), by: 'kim' }, never);
    expect(await allOf(provider.pauses('never/'))).toEqual([]);
    expect(await allOf(provider.list('never/'))).toEqual([]);
    expect(await stage.ask('KEYS', 'solorun:lock:never/*')).toEqual([]);
  });

  it('that is over goes with the next acquisition', async () => {
    const provider = open();
    await provider.pause('over', { until: new Date(Date.now() - 1), by: 'kim' }, never);
    await acquired(provider, 'over');
    expect(await stage.ask('HEXISTS', 'solorun:lock:over', 'paused')).toBe(0);
  });

  it('stands while it is ignored, and after a run', async () => {
    const provider = open();
    await provider.pause('ignored', { forMs: 60_000, by: 'kim', note: '' }, never);
    const grant = await acquired(provider, 'ignored', { ignorePause: true });
    await provider.release(grant, { result: 'failed', error: 'no' }, never);
    expect(await provider.tryAcquire(asked('ignored'), never)).toMatchObject({ reason: 'paused', by: 'kim', note: '' });
  });

  it('refuses its own name alone among those of one script', async () => {
    const provider = open();
    await provider.pause('mixed 1', { forMs: 60_000, by: 'kim' }, never);
    const results = await Promise.all([0, 1, 2].map(async (n) => provider.tryAcquire(asked(`mixed ${n}`), never)));
    expect(results.map((result) => (result.acquired ? 'acquired' : result.reason))).toEqual(['acquired', 'paused', 'acquired']);
  });

  it('is listed once each among thousands, and rejects a list that is given up', async () => {
    const provider = open();
    const names = Array.from({ length: 2_500 }, (_, n) => `many/${n}`);
    await Promise.all(names.map(async (name) => provider.pause(name, { forMs: 60_000, by: 'kim' }, never)));
    expect((await allOf(provider.pauses('many/'))).map(({ name }) => name).sort()).toEqual([...names].sort());
    const given = AbortSignal.abort(new Error('gone'));
    await expect(allOf(provider.pauses('many/', given))).rejects.toThrow('gone');
    await expect(provider.pause('many/0', { forMs: 1, by: 'kim' }, given)).rejects.toThrow('gone');
    await expect(provider.forget('many/0', { untouchedForMs: 0 }, given)).rejects.toThrow('gone');
  });
});

describe('a record', () => {
  it('is forgotten with fields of other versions, however many, and the key with it', async () => {
    const provider = open();
    await ran(provider, 'wide');
    const fill = `for field = 1, 9000 do redis.call('HSET', KEYS[1], 'unknown ' .. field, field) end`;
    await stage.ask('EVAL', fill, 1, 'solorun:lock:wide');
    expect(await provider.forget('wide', { untouchedForMs: 0 }, never)).toBe(true);
    expect(await stage.ask('EXISTS', 'solorun:lock:wide')).toBe(0);
  });

  it.each(['fence', 'since', 'ok'])('is not forgotten while its %s lies ahead of the clock', async (field) => {
    const provider = open();
    await ran(provider, `ahead ${field}`);
    await stage.ask('HINCRBY', `solorun:lock:ahead ${field}`, field, HOUR_US);
    expect(await provider.forget(`ahead ${field}`, { untouchedForMs: 0 }, never)).toBe(false);
    await stage.ask('HINCRBY', `solorun:lock:ahead ${field}`, field, -2 * HOUR_US);
    expect(await provider.forget(`ahead ${field}`, { untouchedForMs: 0 }, never)).toBe(true);
  });

  it('counts the end of a long run as a touch, and is kept for ever if it is told to', async () => {
    const provider = open();
    await ran(provider, 'long');
    const key = 'solorun:lock:long';
    for (const field of ['since', 'fence', 'ok']) await stage.ask('HINCRBY', key, field, -3 * HOUR_US);
    const began = String(await stage.ask('HGET', key, 'since'));
    await stage.ask('HSET', key, 'took', 2 * HOUR_US, 'ran', `done ${began} ${2 * HOUR_US}`);
    const forget = async (hours: number): Promise<boolean> => provider.forget('long', { untouchedForMs: hours * 3_600_000 }, never);
    expect([await forget(2), await forget(Number.POSITIVE_INFINITY), await forget(0.5)]).toEqual([false, false, true]);
  });

  it('does not come back, nor its lease, when its last holder tells its end too late', async () => {
    const provider = open();
    const grant = await acquired(provider, 'late', { leaseMs: 100 });
    await vi.waitUntil(async () => provider.forget('late', { untouchedForMs: 0 }, never), 5_000);
    expect(await provider.renew(grant, never)).toBe(false);
    expect(await provider.release(grant, { result: 'done' }, never)).toBe(false);
    expect(await stage.ask('EXISTS', 'solorun:lock:late')).toBe(0);
  });
});

const withoutFaketime = faketimeMissing();
if (withoutFaketime !== undefined) process.stderr.write(`SKIPPED: servers whose clocks are set. ${withoutFaketime}\n`);

describe.runIf(withoutFaketime === undefined || process.env['CI'] === 'true')('when the clock is set back (needs faketime)', () => {
  it('forgets no name whose fence it could not exceed, and gives greater fences', async () => {
    await using server = await startRedis({ clockAheadMs: 0 });
    const provider = open(server.url);
    const first = await ran(provider, 'job');
    server.setClock(-60_000);
    expect(await provider.forget('job', { untouchedForMs: 0 }, never)).toBe(false);
    const second = await ran(provider, 'job');
    expect(second).toBeGreaterThan(first);
    server.setClock(60_000);
    expect(await provider.forget('job', { untouchedForMs: 30_000 }, never)).toBe(true);
    // By less than it was not touched for.
    server.setClock(40_000);
    expect(await ran(provider, 'job')).toBeGreaterThan(second);
    expect(await askOf(server.port, 'HLEN', 'solorun:lock:job')).toBeGreaterThan(0);
  });
});
