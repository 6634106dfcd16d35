import type { LockProvider } from '@solorun/core';
import advisoryLock from 'advisory-lock';
import { describe, expect, it, onTestFinished } from 'vitest';
import { keysOf } from '../src/server/keys.ts';
import { postgresAdvisory, type PostgresAdvisoryOptions } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const open = (keyspace: PostgresAdvisoryOptions['keyspace'], more: Partial<PostgresAdvisoryOptions> = {}): LockProvider =>
  stage.open(postgresAdvisory({ connectionString: stage.server.url, keyspace, ...more }));

describe('beside the npm package advisory-lock', () => {
  const mutexOn = (
    name: string,
  ): { tryLock(): Promise<(() => Promise<void>) | undefined>; lock(): Promise<() => Promise<void>> } => {
    const factory = (advisoryLock as unknown as { default?: unknown }).default ?? advisoryLock;
    const mutex = (factory as (url: string) => (n: string) => unknown)(stage.server.url)(name);
    return mutex as ReturnType<typeof mutexOn>;
  };
  const names = ['nightly-backup', 'a', 'ünïcode 😀', 'x'.repeat(500), "'; --"];

  it.each(names)('each keeps the other out of %j', async (name) => {
    const provider = open('advisory-lock');
    const unlock = await mutexOn(name).tryLock();
    expect(unlock).toBeTypeOf('function');
    expect(await provider.tryAcquire(asked(name), never)).toMatchObject({ acquired: false, reason: 'held' });
    await unlock!();
    const grant = await acquired(provider, name);
    expect(await mutexOn(name).tryLock()).toBeUndefined();
    expect(await provider.release(grant, { result: 'done' }, never)).toBe(true);
    await (await mutexOn(name).tryLock())!();
  });

  it('each waits for the other in the queue of the server', { timeout: 30_000 }, async () => {
    const provider = open('advisory-lock');
    const request = asked('queue');
    const unlock = await mutexOn('queue').lock();
    const gone = new AbortController();
    onTestFinished(() => gone.abort());
    const waiting = provider.untilFree!(request, gone.signal);
    await until('it stands in the queue', async () => (await waiters()) === 1);
    await unlock();
    await waiting;
    const result = await provider.tryAcquire(request, never);
    expect(result).toMatchObject({ acquired: true });
    const next = mutexOn('queue').lock();
    await until('the other stands in the queue', async () => (await waiters()) === 1);
    if (result.acquired) await provider.release(result.grant, { result: 'done' }, never);
    await (
      await next
    )();
  });

  it('occurrences, records and renewals are what they are with keys of our own', async () => {
    const [a, b] = [open('advisory-lock'), open('advisory-lock')];
    const once = { occurrence: { at: new Date(0), attempts: 1 } };
    const grant = await acquired(a, 'once', once);
    expect(await a.renew(grant, never)).toBe(true);
    expect(await b.inspect('once')).toMatchObject({ held: true, owner: grant.owner });
    expect(await b.tryAcquire(asked('once'), never)).toMatchObject({ reason: 'held', holder: { host: 'test.host' } });
    await a.release(grant, { result: 'done' }, never);
    expect(await b.tryAcquire(asked('once', once), never)).toMatchObject({ reason: 'done' });
  });
});

const waiters = async (): Promise<number> =>
  (await stage.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).length;

describe('beside PALs', () => {
  // hashlib.sha1(b'app.name'), struct.unpack('q', digest[:8]), by Python 3.11.
  it.each([
    ['app.nightly-backup', '1804450078450876934'],
    ['app.a', '8016827937049481688'],
    ['billing.ünïcode 😀', '4700226885195598536'],
    ['just-a-name', '4379554251906687626'],
  ])('the lock %j is number %s', async (name, number) => {
    expect(keysOf('pals').of(name).lock).toBe(number);
    const provider = open('pals');
    const grant = await acquired(provider, name);
    expect(await stage.sql('SELECT pg_try_advisory_lock($1::bigint)::text AS got', [number])).toEqual([{ got: 'false' }]);
    await provider.release(grant, { result: 'done' }, never);
    expect(await stage.sql('SELECT pg_try_advisory_lock($1::bigint)::text AS got', [number])).toEqual([{ got: 'true' }]);
  });
});

it('a keyspace that there is not is refused', () => {
  expect(() => open('md5' as 'pals')).toThrow(/keyspace is solorun, advisory-lock, pals, not "md5"/);
});
