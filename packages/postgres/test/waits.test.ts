import { createSolo } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const open = (options = {}): ReturnType<typeof postgresAdvisory> =>
  stage.open(postgresAdvisory({ connectionString: stage.server.url, ...options }));
const queued = async (): Promise<number> =>
  (await stage.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).length;
const granted = async (): Promise<number> =>
  (await stage.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted")).length;
const sessions = async (): Promise<number> =>
  (await stage.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'solorun%'")).length;

describe('a waiter in the queue of the server', () => {
  it('is woken by the release, and its session then holds the lease', async () => {
    const [a, b] = [open(), open()];
    const grant = await acquired(a, 'queue');
    const request = asked('queue', { leaseMs: 2_000 });
    const waiting = b.untilFree!(request, never);
    await until('it stands in the queue', async () => (await queued()) === 1);
    await a.release(grant, { result: 'done' }, never);
    await waiting;
    const result = await b.tryAcquire(request, never);
    expect(result).toMatchObject({ acquired: true });
    if (!result.acquired) throw new Error(result.reason);
    expect(result.grant.fence).toBeGreaterThan(grant.fence);
    expect(await b.renew(result.grant, never)).toBe(true);
    // The record comes a moment after the lock.
    await until('others see who holds it', async () => {
      const refusal = await a.tryAcquire(asked('queue'), never);
      return !refusal.acquired && refusal.reason === 'held' && refusal.holder?.label === 'tester';
    });
    expect(await b.release(result.grant, { result: 'done' }, never)).toBe(true);
    expect(await granted()).toBe(0);
  });

  it('gets its turn before somebody who comes later and only tries', async () => {
    const [a, b, c] = [open(), open(), open()];
    const grant = await acquired(a, 'turn');
    const request = asked('turn');
    const waiting = b.untilFree!(request, never);
    await until('it stands in the queue', async () => (await queued()) === 1);
    await a.release(grant, { result: 'done' }, never);
    expect(await c.tryAcquire(asked('turn'), never)).toMatchObject({ reason: 'held' });
    await waiting;
    expect(await b.tryAcquire(request, never)).toMatchObject({ acquired: true });
  });

  it('goes on through many slices', async () => {
    const [a, b] = [open(), open({ waitSliceMs: 150 })];
    const grant = await acquired(a, 'slices');
    const request = asked('slices');
    const waiting = b.untilFree!(request, never);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await a.release(grant, { result: 'done' }, never);
    await waiting;
    expect(await b.tryAcquire(request, never)).toMatchObject({ acquired: true });
  });

  it('does not hold up CREATE INDEX CONCURRENTLY for longer than a slice', { timeout: 30_000 }, async () => {
    const [a, b] = [open(), open({ waitSliceMs: 1_000 })];
    await stage.sql('CREATE TABLE indexed AS SELECT generate_series(1, 100) AS n');
    await acquired(a, 'index');
    const controller = new AbortController();
    const waiting = b.untilFree!(asked('index'), controller.signal);
    await until('it stands in the queue', async () => (await queued()) === 1);
    const client = new pg.Client({ connectionString: stage.server.url, statement_timeout: 10_000 });
    await client.connect();
    expect((await client.query('CREATE INDEX CONCURRENTLY ON indexed (n)')).command).toBe('CREATE');
    await client.end();
    controller.abort();
    await waiting;
  });

  it('leaves the queue when it gives up, and what it was given at that moment is given back', async () => {
    const [a, b] = [open(), open()];
    for (let round = 0; round < 20; round += 1) {
      const name = `give up ${round}`;
      const grant = await acquired(a, name);
      const controller = new AbortController();
      const waiting = b.untilFree!(asked(name), controller.signal);
      if (round % 2 === 0) await until('it stands in the queue', async () => (await queued()) === 1);
      const released = round % 3 === 0 ? a.release(grant, { result: 'done' }, never) : undefined;
      controller.abort(new Error('given up'));
      await waiting;
      expect(await queued()).toBe(0);
      await released;
      if (released === undefined) await a.release(grant, { result: 'done' }, never);
      await until('the name is free', async () => {
        const result = await a.tryAcquire(asked(name), never);
        if (result.acquired) await a.release(result.grant, { result: 'done' }, never);
        return result.acquired;
      });
    }
    expect(await queued()).toBe(0);
    expect(await granted()).toBe(0);
    expect(await sessions()).toBeLessThanOrEqual(3);
  });

  it('who goes away after its turn has come gives it back, and the place is free for the next', async () => {
    const [a, b] = [open(), open()];
    for (let round = 0; round < 3; round += 1) {
      const controller = new AbortController();
      const grant = await acquired(a, 'gone');
      const waiting = b.untilFree!(asked('gone'), controller.signal);
      await until('it stands in the queue', async () => (await queued()) === 1);
      await a.release(grant, { result: 'done' }, never);
      await waiting;
      expect(await a.tryAcquire(asked('gone'), never)).toMatchObject({ reason: 'held' });
      controller.abort();
      await until('it is free', async () => (await granted()) === 0);
    }
  });

  it('whose session is terminated while it waits, waits on', { timeout: 30_000 }, async () => {
    const a = open();
    const grant = await acquired(a, 'cut');
    const solo = createSolo({ provider: open() });
    onTestFinished(() => solo.close());
    const waiting = solo.acquire('cut', { waitMs: 25_000 });
    await until('it stands in the queue', async () => (await queued()) === 1);
    await stage.sql('SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted');
    await until('it stands in the queue again', async () => (await queued()) === 1);
    await a.release(grant, { result: 'done' }, never);
    expect((await waiting).fence).toBeGreaterThan(grant.fence);
  });
});

describe('200 waiters', () => {
  it('on one name cost two sessions and no statements', { timeout: 40_000 }, async () => {
    const holder = open();
    const grant = await acquired(holder, 'popular');
    const solo = createSolo({ provider: open() });
    onTestFinished(() => solo.close());
    const order: number[] = [];
    const waits = Array.from({ length: 200 }, (_, n) =>
      solo.run('popular', () => order.push(n), { onBusy: 'wait', waitMs: 30_000 }),
    );
    await until('one stands in the queue', async () => (await queued()) === 1);
    expect(await sessions()).toBe(3);
    await holder.release(grant, { result: 'done' }, never);
    await Promise.all(waits);
    expect(order).toHaveLength(200);
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it('on as many names cost two sessions, and each gets its turn', { timeout: 40_000 }, async () => {
    const holder = open();
    const grants = await Promise.all(Array.from({ length: 200 }, (_, n) => acquired(holder, `name ${n}`)));
    const solo = createSolo({ provider: open() });
    onTestFinished(() => solo.close());
    const waits = grants.map(({ name }) => solo.run(name, () => name, { onBusy: 'wait', waitMs: 30_000 }));
    await until('one stands in the queue', async () => (await queued()) === 1);
    await until('the others have left word', async () => {
      const [row] = await stage.sql('SELECT count(*)::text AS n FROM solorun.job WHERE watched_until > now()');
      return Number(row!['n']) >= 199;
    });
    expect(await sessions()).toBe(3);
    for (const grant of grants) await holder.release(grant, { result: 'done' }, never);
    expect((await Promise.all(waits)).every(({ status }) => status === 'ran')).toBe(true);
    expect(await sessions()).toBe(3);
  });

  it('who wait for nothing in the queue see a dead holder too', async () => {
    const [a, b] = [open(), open({ waitSessions: 0 })];
    expect(b.guarantees.wakeUp).toBe('push');
    await acquired(a, 'dies');
    const waiting = b.untilFree!(asked('dies'), never);
    await stage.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    await waiting;
  });
});

describe('a waiter for a lease row', () => {
  it.each([{ notify: true }, { notify: false }])('is woken by the release, with %o', async (options) => {
    const [a, b] = [0, 1].map(() => stage.open(postgresLease({ connectionString: stage.server.url, ...options })));
    const grant = await acquired(a!, `row ${options.notify}`);
    const solo = createSolo({ provider: b! });
    onTestFinished(() => solo.close());
    const waiting = solo.acquire(`row ${options.notify}`, { waitMs: 15_000 });
    if (options.notify) {
      await until('it has left word', async () => {
        const rows = await stage.sql('SELECT 1 FROM solorun.job WHERE name = $1 AND watched_until > now()', ['row true']);
        return rows.length === 1;
      });
    }
    expect(b!.guarantees.wakeUp).toBe(options.notify ? 'push' : 'poll');
    await a!.release(grant, { result: 'done' }, never);
    expect((await waiting).fence).toBe(grant.fence + 1n);
  });
});
