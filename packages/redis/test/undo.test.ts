import { setMaxListeners } from 'node:events';
import { createSolo } from '@solorun/core';
import { startProxy, type Proxy } from '@solorun/servers/network';
import { expect, it, onTestFinished } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, asked, failureOf, never, onRedis, until } from './server.ts';

// What was granted to somebody who never heard of it is taken back.
const stage = onRedis();

async function proxied(): Promise<{ readonly proxy: Proxy; readonly url: string }> {
  const proxy = await startProxy({ port: stage.server.port });
  onTestFinished(() => proxy.stop());
  return { proxy, url: proxy.through(stage.server.url) };
}

it('gives back what was granted with an answer that never came', async () => {
  const { proxy, url } = await proxied();
  const provider = stage.open(redis({ url, settleMs: 0 }));
  await acquired(provider, 'warm');
  const occurrence = { at: new Date(0), attempts: 1 };
  const request = asked('unheard', { leaseMs: 60_000, occurrence });
  proxy.cut('down');
  const trying = failureOf(provider.tryAcquire(request, never));
  await until('it was granted', async () => (await stage.ask('HGET', 'solorun:lock:unheard', 'owner')) === request.owner);
  proxy.breakAll();
  proxy.mend();
  await trying;
  // The same replica asks again, for the same occurrence, of which there is one attempt.
  const again = await provider.tryAcquire(asked('unheard', { leaseMs: 60_000, occurrence }), never);
  expect(again).toMatchObject({ acquired: true, grant: { attempt: 1 } });
});

it('keeps nothing of a try whose caller goes away at whatever moment', async () => {
  const { proxy, url } = await proxied();
  const provider = stage.open(redis({ url, settleMs: 0 }));
  const other = stage.open(redis({ url: stage.server.url, settleMs: 0 }));
  await acquired(provider, 'warm too', { leaseMs: 60_000 });
  proxy.delay(15);
  for (let round = 0; round < 12; round += 1) {
    const name = `away ${round}`;
    const controller = new AbortController();
    const trying = Promise.resolve(provider.tryAcquire(asked(name, { leaseMs: 60_000 }), controller.signal));
    setTimeout(() => controller.abort(new Error('gone')), round * 4);
    const [end] = await Promise.allSettled([trying]);
    if (end.status === 'fulfilled' && end.value.acquired) await provider.release(end.value.grant, { result: 'done' }, never);
    await until('it is free', async () => (await other.tryAcquire(asked(name), never)).acquired);
  }
  expect(await other.tryAcquire(asked('warm too'), never)).toMatchObject({ reason: 'held' });
});

it('gives back the occurrences of runs that a shutdown cut off before they began', async () => {
  const { proxy, url } = await proxied();
  const solo = createSolo({ provider: redis({ url, settleMs: 0 }) });
  await solo.run('warm', () => 1);
  proxy.delay(60);
  const at = new Date(Date.now() - 5_000);
  let started = 0;
  const runs = Array.from({ length: 5 }, (_, n) => solo.run(`cut ${n}`, () => (started += 1), { occurrence: at }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await solo.close();
  expect((await Promise.all(runs)).map(({ status }) => status)).toEqual(Array(5).fill('skipped'));
  expect(started).toBe(0);
  const other = createSolo({ provider: redis({ url: stage.server.url, settleMs: 0 }) });
  onTestFinished(() => other.close());
  for (let n = 0; n < 5; n += 1) {
    expect((await other.run(`cut ${n}`, () => 1, { occurrence: at })).status).toBe('ran');
  }
});

it('gives up a connection that does not answer, and opens another one', async () => {
  const { proxy, url } = await proxied();
  const provider = stage.open(redis({ url, settleMs: 0 }));
  // Half of its lease is left for another connection.
  await acquired(provider, 'warm as well', { leaseMs: 1_000 });
  proxy.cut();
  const error = await failureOf(provider.tryAcquire(asked('silent'), never));
  expect(error.message).toBe('no answer within 500 ms');
  proxy.mend();
  await until('it works again', async () => (await provider.tryAcquire(asked('silent'), never)).acquired);
  expect(proxy.connections).toBe(2);
});

it('waits for a server that is too slow for what is asked, as long as it answers something, and undoes what was given up in few scripts', async () => {
  const { proxy, url } = await proxied();
  const provider = stage.open(redis({ url, settleMs: 0 }));
  // A connection would be given up after two seconds of silence.
  await acquired(provider, 'warm in time', { leaseMs: 4_000 });
  const scripts = async (): Promise<number> =>
    Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await stage.ask('INFO', 'commandstats')))![1]);
  const before = await scripts();
  proxy.pace(40);
  const names = Array.from({ length: 960 }, (_, n) => `slow ${n}`);
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const tries = names.map(async (name, n) =>
    provider.tryAcquire(asked(name, { leaseMs: 60_000 }), n % 2 === 0 ? never : controller.signal),
  );
  await Promise.any(tries);
  controller.abort(new Error('gone'));
  const ends = await Promise.allSettled(tries);
  const given = names.filter((_, n) => ends[n]!.status === 'rejected');
  expect(ends.flatMap((end) => (end.status === 'rejected' ? [(end.reason as Error).message] : []))).toEqual(
    given.map(() => 'gone'),
  );
  expect(given.length).toBeGreaterThan(300);
  const held = `local held = 0 for _, key in ipairs(redis.call('KEYS', 'solorun:lock:slow *')) do held = held + redis.call('HEXISTS', key, 'until') end return held`;
  await until('they are given back', async () => (await stage.ask('EVAL', held, 0)) === names.length - given.length);
  expect((await scripts()) - before - names.length / 16).toBeLessThan(15);
  expect(proxy.connections).toBe(1);
  proxy.pace(0);
  // None of them is judged by what was given up.
  const again = await Promise.all(given.map(async (name) => provider.tryAcquire(asked(name), never)));
  expect(again.every(({ acquired: got }) => got)).toBe(true);
});

it('leaves no connection behind when it is closed at whatever moment', async () => {
  for (let round = 0; round < 16; round += 1) {
    const provider = redis({ url: stage.server.url, settleMs: 0 });
    const trying = Promise.resolve(provider.tryAcquire(asked('closed'), never)).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, round));
    await provider.close();
    await trying;
  }
  const left = async (): Promise<string> => String(await stage.ask('CLIENT', 'LIST'));
  await until('no connection is left', async () => !(await left()).includes('name=solorun'));
  expect(await left()).not.toContain('name=solorun');
});
