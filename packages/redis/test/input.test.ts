import { readFileSync } from 'node:fs';
import { createSolo, OptionError, ProviderError, UnsupportedError, type Solo } from '@solorun/core';
import { startRedis } from '@solorun/servers/redis';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { redis, type RedisOptions } from '../src/index.ts';
import { acquired, asked, failureOf, never, onRedis, shown } from './server.ts';

const SECRET = 'h0rse-battery';
const stage = onRedis({ settings: { requirepass: 'an@ther:s/cret' } });
const url = (): string => `redis://:an%40ther%3As%2Fcret@127.0.0.1:${stage.server.port}`;

function soloOn(options: RedisOptions, leaseMs = 2_000): Solo {
  const solo = createSolo({ provider: redis({ settleMs: 0, ...options }), leaseMs, callTimeoutMs: 4_000 });
  onTestFinished(() => solo.close());
  return solo;
}

/** As the default user. */
async function call(command: string, ...words: string[]): Promise<unknown> {
  const client = new Redis(url());
  try {
    return await client.call(command, ...words);
  } finally {
    client.disconnect();
  }
}

describe('what reaches a server', () => {
  it.each([
    ['a wrong password', () => `redis://:${SECRET}@127.0.0.1:${stage.server.port}`, /WRONGPASS/],
    ['an unknown user', () => `redis://nobody:${SECRET}@127.0.0.1:${stage.server.port}`, /WRONGPASS/],
    ['no password', () => `redis://127.0.0.1:${stage.server.port}`, /NOAUTH/],
    ['an unknown host', () => `redis://u:${SECRET}@no-such-host.invalid`, /no-such-host\.invalid/],
    ['a port where nobody listens', () => `redis://u:${SECRET}@127.0.0.1:1`, /ECONNREFUSED/],
    ['a database that there is not', () => `${url()}/99`, /DB index is out of range/],
    ['TLS where there is none', () => `rediss://u:${SECRET}@127.0.0.1:${stage.server.port}`, /redis: cannot acquire "job"/],
  ])('tells of %s without the password', async (_, target, message) => {
    const solo = soloOn({ url: target() });
    const events: unknown[] = [];
    solo.on('unconfirmed', (detail) => events.push(detail));
    const error = await failureOf(solo.run('job', () => 1));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.message).toMatch(message);
    for (const secret of [SECRET, 'an@ther']) {
      expect(shown(error)).not.toContain(secret);
      expect(shown(events)).not.toContain(secret);
    }
  });

  it('heeds what a URL says of the way, and not what it says of queues, prefixes and time-outs', async () => {
    const others =
      'keyPrefix=odd&enableOfflineQueue=true&autoResendUnfulfilledCommands=true&connectTimeout=1000&socketTimeout=1000';
    const solo = soloOn({ url: `${url()}/3?family=4&${others}` });
    await solo.run('in the third', () => 1);
    const client = new Redis(`${url()}/3`);
    expect(await client.keys('*')).toEqual(['solorun:lock:in the third']);
    client.disconnect();
  });

  it('refuses a replica, and names the remedy', async () => {
    await using server = await startRedis();
    const replica = await server.replica();
    const error = await failureOf(soloOn({ url: replica.url }).run('job', () => 1));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.message).toMatch(/read-only replica: connect to the primary/);
  });

  it('refuses a server that throws away locks when it is full, unless that is accepted', async () => {
    await using server = await startRedis({ settings: { maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' } });
    const error = await failureOf(soloOn({ url: server.url }).run('job', () => 1));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/maxmemory-policy allkeys-lru.*noeviction/);
    const solo = soloOn({ url: server.url, allowEviction: true });
    expect((await solo.run('job', () => 1)).status).toBe('ran');
    expect(solo.explain().caveats.join()).toContain('allkeys-lru');
    await using other = await startRedis({ settings: { maxmemory: '64mb', 'maxmemory-policy': 'volatile-lru' } });
    expect((await soloOn({ url: other.url }).run('job', () => 1)).status).toBe('ran');
  });

  it('works for a role that may neither listen nor publish nor ask for information, and says that its waiters look', async () => {
    await call('ACL', 'SETUSER', 'poor', 'on', '>poor', '~solorun:*', 'resetchannels', '+@all', '-info');
    const target = `redis://poor:poor@127.0.0.1:${stage.server.port}`;
    const [holder, waiter] = [soloOn({ url: target }), soloOn({ url: target })];
    const lease = await holder.acquire('poor', { waitMs: 0 });
    const waiting = waiter.acquire('poor', { waitMs: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await lease.release()).toBe(true);
    await (await waiting).release();
    expect(String(waiter.explain())).toMatch(/polling|look/);
  });

  it('works for a role with the rights that docs/redis.md names', async () => {
    const rights = /`(~solorun:\* &solorun:\* [^`]*)`/.exec(
      readFileSync(new URL('../../../docs/redis.md', import.meta.url), 'utf8'),
    )?.[1];
    await call('ACL', 'SETUSER', 'documented', 'reset', 'on', '>documented', ...rights!.split(' '));
    const target = `redis://documented:documented@127.0.0.1:${stage.server.port}`;
    const [holder, waiter] = [soloOn({ url: target, settleMs: undefined }), soloOn({ url: target, settleMs: undefined })];
    const occurrence = new Date(Date.now() - 1_000);
    expect((await holder.run('documented', () => 1, { occurrence, leaseMs: 1_000 })).status).toBe('ran');
    const lease = await holder.acquire('documented', { waitMs: 10_000, leaseMs: 1_000 });
    const waiting = waiter.acquire('documented', { waitMs: 10_000, leaseMs: 1_000 });
    await lease.confirm();
    await lease.release();
    await (await waiting).release();
    expect(await holder.inspect('documented')).toMatchObject({ held: false });
    const names: string[] = [];
    for await (const { name } of holder.list()) names.push(name);
    expect(names).toContain('documented');
    expect(String(waiter.explain())).not.toMatch(/polling|INFO/);
    await usesEverything(soloOn({ url: target }), 'documented');
    // An observation of another term is forgotten with all its machines, or it would count for this one.
    await call('DEL', 'solorun:observed');
    await call('HSET', 'solorun:observed', 'term', 'another', 'proved', '9000000', 'machine of yesterday', '-9000000');
    expect((await soloOn({ url: target, settleMs: undefined }).run('documented too', () => 1, { leaseMs: 3_600_000 })).status).toBe(
      'skipped',
    );
    expect(await call('HKEYS', 'solorun:observed')).not.toContain('machine of yesterday');
  });

  it('works on a server whose INFO was renamed away, and says that it notices no restart', async () => {
    await using server = await startRedis({ settings: { 'rename-command': 'INFO ""' } });
    const solo = createSolo({ provider: redis({ url: server.url }), leaseMs: 30_000 });
    onTestFinished(() => solo.close());
    expect((await solo.run('job', () => 1)).status).toBe('ran');
    expect(solo.explain().caveats.join()).toMatch(/may not be asked for INFO/);
  });

  it('lets a key of somebody else fail its own question alone', async () => {
    await call('SET', 'solorun:lock:taken', 'mine');
    const provider = stage.open(redis({ url: url(), settleMs: 0 }));
    const tries = ['a', 'taken', 'b'].map(async (name) => provider.tryAcquire(asked(name), never));
    const settled = await Promise.allSettled(tries);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(shown(settled[1])).toContain('WRONGTYPE');
    const held = [await acquired(provider, 'c'), { name: 'taken', owner: 'x', fence: 1n, attempt: 1 }];
    const renewed = await Promise.allSettled(held.map(async (grant) => provider.renew(grant, never)));
    expect(renewed.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    const released = await Promise.allSettled(held.map(async (grant) => provider.release(grant, { result: 'done' }, never)));
    expect(released.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(await call('GET', 'solorun:lock:taken')).toBe('mine');
  });

  it('lets a hash that somebody has changed by hand fail its own question alone', async () => {
    await call('HSET', 'solorun:lock:changed', 'owner', 'x', 'by', '{', 'fence', '1', 'until', String(2 ** 52));
    await call('HSET', 'solorun:lock:half', 'mark', '5000 claimed');
    const provider = stage.open(redis({ url: url(), settleMs: 0 }));
    const occurrence = { at: new Date(5_000), attempts: 2 };
    const tries = ['d', 'changed', 'half'].map(async (name) => provider.tryAcquire({ ...asked(name), occurrence }, never));
    const settled = await Promise.allSettled(tries);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(shown(settled[1])).toContain('the record of "changed" cannot be read');
    expect(settled[2]).toMatchObject({ value: { acquired: true, grant: { attempt: 1 } } });
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    const names = [];
    for await (const { name } of provider.list()) names.push(name);
    expect(names).toEqual(expect.arrayContaining(['d', 'half']));
    expect(names).not.toContain('changed');
    expect((await warned).message).toContain('"changed" cannot be read');
    await expect(provider.inspect('changed')).rejects.toThrow(/cannot be read/);
    await call('DEL', 'solorun:lock:changed');
  });

  it.each([
    ['../../etc/passwd'],
    ['$(reboot)'],
    ['a\nb\r\nc\0d'],
    ['{tag}{'],
    ['*?[^a]\\'],
    ["'; redis.call('FLUSHALL') --"],
    ['😀'.repeat(500)],
  ])('takes any string for a name: %#', async (name) => {
    const solo = soloOn({ url: url() });
    const other = soloOn({ url: url() });
    const error = `${name} failed`;
    const failing = async (): Promise<never> => {
      expect(await other.tryAcquire(name)).toBeUndefined();
      throw new Error(error);
    };
    await failureOf(solo.run(name, failing));
    expect(await other.inspect(name)).toMatchObject({ name, held: false, lastError: expect.stringContaining(name.slice(0, 20)) });
    const listed: string[] = [];
    for await (const record of redisNames(name)) listed.push(record);
    expect(listed).toEqual([name]);
    await usesEverything(solo, name);
  });

  /** What an operator does with a name that has run. */
  async function usesEverything(solo: Solo, name: string): Promise<void> {
    const note = `${name.slice(0, 100)} is paused`;
    await solo.pause(name, { note });
    expect(await solo.run(name, () => 1)).toMatchObject({ status: 'skipped', reason: 'paused', paused: { note } });
    const paused: unknown[] = [];
    for await (const pause of solo.pauses({ prefix: name })) paused.push(pause);
    expect(paused).toEqual([expect.objectContaining({ name, note })]);
    expect(await solo.resume(name)).toBe(true);
    const occurrence = new Date(Date.now() - 500);
    expect((await solo.run(name, () => 1, { occurrence })).status).toBe('ran');
    expect(await solo.rerun(name)).toMatchObject({ at: occurrence, state: 'reopened' });
    expect((await solo.run(name, () => 1, { occurrence })).status).toBe('ran');
    expect((await solo.runs(name))[0]).toMatchObject({ attempt: 2, outcome: 'done' });
    expect(await solo.prune({ olderThanMs: 0, prefix: name })).toBe(1);
    expect(await solo.inspect(name)).toBeUndefined();
  }

  async function* redisNames(prefix: string): AsyncIterable<string> {
    const provider = stage.open(redis({ url: url() }));
    for await (const record of provider.list(prefix)) yield record.name;
  }

  it('lists thousands of locks, each once, and nothing of another prefix', async () => {
    const many = soloOn({ url: url(), prefix: 'many' }, 30_000);
    await Promise.all(Array.from({ length: 2_500 }, (_, n) => many.run(`n ${n}`, () => {})));
    const names = new Set<string>();
    let count = 0;
    for await (const { name } of many.list()) {
      names.add(name);
      count += 1;
    }
    expect([names.size, count]).toEqual([2_500, 2_500]);
  });
});

describe('what is refused at the door', () => {
  it.each([
    [`redis://user:${SECRET}@[half`],
    [`redis://user:${SECRET}@host:port:port`],
    [`postgres://user:${SECRET}@host/db`],
    [`127.0.0.1:6379 password=${SECRET}`],
    [`redis://user:${SECRET}%zz@host`],
    [`redis://user:${SECRET}@host/billing`],
    [`redis://user:${SECRET}@host?db=billing`],
  ])('is what is no URL: %#', (target) => {
    let error: unknown;
    try {
      redis({ url: target });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(OptionError);
    expect(shown(error)).not.toContain(SECRET);
  });

  it.each<[object | undefined, RegExp]>([
    [undefined, /takes an object/],
    [{}, /one of them/],
    [{ url: undefined }, /one of them/],
    [{ url: '' }, /environment variable/],
    [{ url: 'redis://x', client: new Redis({ lazyConnect: true }) }, /one of them/],
    [{ client: 'redis://x' }, /ioredis/],
    [{ url: 'redis://' }, /names no host/],
    [{ url: 'redis://:secret@/0' }, /names no host|cannot be understood/],
    [{ url: 'redis://x/locks' }, /not a number/],
    [{ url: 'redis://x/0?db=one' }, /not a number/],
    // As the package redis has it.
    [{ client: { duplicate() {}, connect() {}, evalSha() {} } }, /ioredis's.*no other package/],
    [{ uri: 'redis://x' }, /no option "uri". What there is: url/],
    [{ url: 'redis://x', prefix: '' }, /prefix/],
    [{ url: 'redis://x', settleMs: -1 }, /settleMs/],
  ])('is an option that cannot work: %#', (options, message) => {
    expect(() => redis(options as RedisOptions)).toThrow(message);
    expect(() => redis(options as RedisOptions)).toThrow(OptionError);
  });

  it('is a lease without end', async () => {
    await expect(soloOn({ url: url() }).run('endless', () => {}, { leaseMs: null })).rejects.toThrow(UnsupportedError);
  });
});
