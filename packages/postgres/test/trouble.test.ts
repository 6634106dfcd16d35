import { createSolo } from '@solorun/core';
import { startProxy } from '@solorun/servers/network';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const both = [
  ['postgresAdvisory', postgresAdvisory],
  ['postgresLease', postgresLease],
] as const;

type Proxy = Awaited<ReturnType<typeof startProxy>>;

async function proxied(): Promise<{ readonly proxy: Proxy; readonly connectionString: string }> {
  const proxy = await startProxy({ port: stage.server.port });
  onTestFinished(() => proxy.stop());
  return { proxy, connectionString: proxy.through(stage.server.url) };
}

const locks = async (): Promise<number> => (await stage.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")).length;

describe.each(both)('%s', (kind, open) => {
  it('gives back the occurrences of runs that a shutdown cut off before they began', async () => {
    const { proxy, connectionString } = await proxied();
    const solo = createSolo({ provider: open({ connectionString }) });
    await solo.run('warm', () => 1);
    proxy.delay(60);
    const at = new Date(Date.now() - 5_000);
    let started = 0;
    const runs = Array.from({ length: 5 }, (_, n) => solo.run(`${kind} cut ${n}`, () => (started += 1), { occurrence: at }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await solo.close();
    expect((await Promise.all(runs)).map(({ status }) => status)).toEqual(Array(5).fill('skipped'));
    expect(started).toBe(0);
    const other = createSolo({ provider: open({ connectionString: stage.server.url }) });
    onTestFinished(() => other.close());
    for (let n = 0; n < 5; n += 1) {
      expect((await other.run(`${kind} cut ${n}`, () => 1, { occurrence: at })).status).toBe('ran');
    }
  });

  it('gives back what was granted with an answer that never came', async () => {
    const { proxy, connectionString } = await proxied();
    const provider = stage.open(open({ connectionString }));
    await acquired(provider, `${kind} warm`);
    const request = asked(`${kind} lost`, { occurrence: { at: new Date(0), attempts: 1 } });
    proxy.cut('down');
    const trying = failureOf(provider.tryAcquire(request, never));
    await until(
      'it was granted',
      async () => (await stage.sql('SELECT 1 FROM solorun.job WHERE owner = $1', [request.owner])).length === 1,
    );
    proxy.breakAll();
    proxy.mend();
    await trying;
    // The same replica asks again, for the same occurrence, of which there is one attempt.
    const again = await provider.tryAcquire(asked(`${kind} lost`, { occurrence: { at: new Date(0), attempts: 1 } }), never);
    expect(again).toMatchObject({ acquired: true, grant: { attempt: 1 } });
  });

  it('keeps nothing of a try whose caller goes away at whatever moment', async () => {
    const { proxy, connectionString } = await proxied();
    const provider = stage.open(open({ connectionString }));
    const other = stage.open(open({ connectionString: stage.server.url }));
    await acquired(provider, `${kind} warm too`);
    proxy.delay(15);
    for (let round = 0; round < 12; round += 1) {
      const name = `${kind} away ${round}`;
      const controller = new AbortController();
      const trying = provider.tryAcquire(asked(name), controller.signal);
      // A name without a row takes two statements, each 15 ms on its way there and 15 ms back.
      setTimeout(() => controller.abort(new Error('gone')), round * 6);
      const [end] = await Promise.allSettled([trying]);
      if (end.status === 'fulfilled' && end.value.acquired) await provider.release(end.value.grant, { result: 'done' }, never);
      await until('it is free', async () => (await other.tryAcquire(asked(name), never)).acquired);
    }
    expect(await provider.tryAcquire(asked(`${kind} away 0`), never)).toMatchObject({ reason: 'held' });
  });

  it('lets one bad question fail alone', async () => {
    const provider = stage.open(open({ connectionString: stage.server.url }));
    await acquired(provider, `${kind} good`);
    const tries = Array.from({ length: 20 }, async (_, n) =>
      provider.tryAcquire(asked(`${kind} good ${n}`, { occurrence: { at: new Date(0), attempts: n === 7 ? 2 ** 40 : 1 } }), never),
    );
    const settled = await Promise.allSettled(tries);
    expect(settled.flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))).toEqual([7]);
  });

  it('leaves no session behind when it is closed at whatever moment', async () => {
    for (let round = 0; round < 16; round += 1) {
      const provider = open({ connectionString: stage.server.url });
      const trying = Promise.resolve(provider.tryAcquire(asked(`${kind} closed`), never)).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, round * 2));
      await provider.close();
      await trying;
    }
    const left = (): Promise<unknown[]> => stage.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'solorun%'");
    await until('no session is left', async () => (await left()).length === 0);
    expect(await left()).toEqual([]);
  });

  it('recovers from a connection that goes silent while it is looked at', { timeout: 40_000 }, async () => {
    const { proxy, connectionString } = await proxied();
    const solo = createSolo({ provider: open({ connectionString }), callTimeoutMs: 2_000 });
    onTestFinished(() => solo.close());
    proxy.delay(30);
    const first = failureOf(solo.run('silent', () => 1));
    await until('it has connected', () => proxy.connections > 0);
    await new Promise((resolve) => setTimeout(resolve, 60));
    proxy.cut();
    await first;
    proxy.delay(0);
    proxy.mend();
    proxy.breakAll();
    await until('it works again', async () => {
      const [end] = await Promise.allSettled([solo.run('silent', () => 1)]);
      return end.status === 'fulfilled' && end.value.status === 'ran';
    });
    expect((await solo.run('silent', () => 2)).status).toBe('ran');
  });
});

describe('postgresAdvisory', () => {
  const open = (options = {}): ReturnType<typeof postgresAdvisory> =>
    stage.open(postgresAdvisory({ connectionString: stage.server.url, ...options }));

  it('tells the holder of a terminated session before a waiter has its lock', { timeout: 60_000 }, async () => {
    const waiter = open();
    for (let round = 0; round < 30; round += 1) {
      const holder = open();
      const name = `terminated ${round}`;
      const grant = await acquired(holder, name);
      const request = asked(name);
      const waiting = waiter.untilFree!(request, never).then(() => grant.lost!.aborted);
      await until('it stands in the queue', async () => (await stage.sql('SELECT 1 FROM pg_locks WHERE NOT granted')).length === 1);
      // The session is in the middle of something, as one is that serves many locks.
      const busy = setInterval(() => void holder.inspect(name).catch(() => {}), 1);
      await stage.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
      expect(await waiting).toBe(true);
      clearInterval(busy);
      const taken = await waiter.tryAcquire(request, never);
      if (taken.acquired) await waiter.release(taken.grant, { result: 'done' }, never);
      await holder.close();
    }
  });

  it('gives back a lock that was waited for when its waiter goes away before its try was sent', async () => {
    const [a, b] = [open(), open()];
    const grant = await acquired(a, 'leak');
    const hint = new AbortController();
    const request = asked('leak');
    const waiting = b.untilFree!(request, hint.signal);
    await until('it stands in the queue', async () => (await stage.sql('SELECT 1 FROM pg_locks WHERE NOT granted')).length === 1);
    await a.release(grant, { result: 'done' }, never);
    await waiting;
    const controller = new AbortController();
    const trying = failureOf(b.tryAcquire(request, controller.signal));
    controller.abort(new Error('gone'));
    hint.abort();
    expect((await trying).message).toBe('gone');
    await until('no lock is left', async () => (await locks()) === 0);
  });

  it('counts the locks that are being tried for', async () => {
    const provider = open({ maxLocks: 10 });
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, async (_, n) => provider.tryAcquire(asked(`burst ${n}`), never)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(10);
    expect(await locks()).toBeLessThanOrEqual(10);
  });

  it('gives back a lock without end whose release failed, instead of keeping it for ever', { timeout: 40_000 }, async () => {
    const provider = open();
    const once = { occurrence: { at: new Date(0), attempts: 1 } };
    const grant = await acquired(provider, 'unreleased', { leaseMs: null, ...once });
    await stage.sql(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER full_disk BEFORE UPDATE ON solorun.job FOR EACH ROW WHEN (NEW.name = 'unreleased') EXECUTE FUNCTION full_disk()`);
    await expect(provider.release(grant, { result: 'done' }, never)).rejects.toThrow('disk full');
    await stage.sql('DROP TRIGGER full_disk ON solorun.job');
    await until('it is free', async () => (await locks()) === 0, 15_000);
    expect(await provider.tryAcquire(asked('unreleased'), never)).toMatchObject({ acquired: true });
  });

  it('says once that records cannot be written, and the locks do not suffer', { timeout: 30_000 }, async () => {
    const told: string[] = [];
    const [provider, other] = [open({ onWarning: (message: string) => told.push(message) }), open()];
    await stage.sql(`CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER full_disk BEFORE INSERT ON solorun.job FOR EACH ROW WHEN (NEW.name = 'unwritten') EXECUTE FUNCTION full_disk()`);
    const grant = await acquired(provider, 'unwritten');
    await until('it is told', () => told.length > 0);
    expect(await other.tryAcquire(asked('unwritten'), never)).toMatchObject({ reason: 'held' });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await stage.sql('DROP TRIGGER full_disk ON solorun.job');
    await until('it is written', async () => (await other.inspect('unwritten'))?.owner === grant.owner);
    expect(told).toEqual([expect.stringMatching(/record .* cannot be written: disk full/)]);
    expect(await provider.release(grant, { result: 'done' }, never)).toBe(true);
    await acquired(other, 'unwritten');
  });

  it('never claims an occurrence on a session that began without the tables, before it has seen them', async () => {
    await stage.sql('CREATE ROLE later LOGIN');
    await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const connectionString = stage.server.urlFor({ user: 'later' });
    const provider = open({ connectionString, schema: 'later', onWarning: () => {} });
    const once = { occurrence: { at: new Date(0), attempts: 1 } };
    await provider.release(await acquired(provider, 'plain'), { result: 'done' }, never);
    await expect(provider.tryAcquire(asked('plain', once), never)).rejects.toThrow(/schemaSql/);
    await stage.sql(`${schemaSql({ schema: 'later' })} GRANT USAGE ON SCHEMA later TO later; GRANT USAGE, UPDATE ON SEQUENCE later.fence TO later;
      GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA later TO later`);
    // Another length of lease, another session: what that one finds is known to the first.
    await acquired(provider, 'other', { leaseMs: 50_000 });
    const grant = await acquired(provider, 'plain', once);
    await provider.release(grant, { result: 'done' }, never);
    expect(await provider.tryAcquire(asked('plain', { ...once, leaseMs: 50_000 }), never)).toMatchObject({ reason: 'done' });
  });
});

describe('a server that does not flush', () => {
  const lazy = onPostgres({ settings: { synchronous_commit: 'off', wal_writer_delay: '10s' } });

  it('keeps the renewal of a lease row through a crash all the same', { timeout: 30_000 }, async () => {
    const provider = lazy.open(postgresLease({ connectionString: lazy.server.url }));
    const grant = await acquired(provider, 'renewed', { leaseMs: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await provider.renew(grant, never)).toBe(true);
    const expiry = 'SELECT expires_at::text AS at FROM solorun.job';
    const [before] = await lazy.sql(expiry);
    await lazy.server.kill();
    await lazy.server.start();
    expect(await lazy.sql(expiry)).toEqual([before]);
  });
});
