import { createSolo, OptionError, ProviderError } from '@solorun/core';
import pg from 'pg';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { LoginRefusedError, postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, openPool, shown } from './server.ts';

const stage = onPostgres();
const SECRET = 'h0rse-battery';

describe.each([
  ['postgresAdvisory', postgresAdvisory],
  ['postgresLease', postgresLease],
] as const)('%s', (kind, open) => {
  const failing = async (options: Parameters<typeof open>[0]): Promise<Error> => {
    const solo = createSolo({ provider: open(options), callTimeoutMs: 4_000 });
    onTestFinished(() => solo.close());
    const events: unknown[] = [];
    solo.on('unconfirmed', (detail) => events.push(detail));
    const error = await failureOf(solo.run('job', () => 1));
    expect(shown(error)).not.toContain(SECRET);
    expect(shown(events)).not.toContain(SECRET);
    return error;
  };

  it.each([
    ['an unknown host', () => `postgres://u:${SECRET}@no-such-host.invalid/db`, /no-such-host\.invalid/],
    ['a port where nobody listens', () => `postgres://u:${SECRET}@127.0.0.1:1/db`, /ECONNREFUSED/],
  ])('tells of %s without the password', async (_, url, message) => {
    const error = await failing({ connectionString: url() });
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('acquire "job"');
  });

  describe('does not wait for a login that is refused, and keeps the password to itself:', () => {
    const refusals: readonly (readonly [string, () => string, RegExp])[] = [
      [
        'a wrong password',
        () => stage.server.urlFor({ user: 'secretive', password: SECRET }),
        /password authentication failed for user "secretive"/,
      ],
      ['no password', () => stage.server.urlFor({ user: 'secretive' }), /password must be/],
      ['an unknown role', () => stage.server.urlFor({ user: 'nobody', password: SECRET }), /role "nobody" does not exist/],
      [
        'an unknown database',
        () => stage.server.urlFor({ database: 'nowhere', password: SECRET }),
        /database "nowhere" does not exist/,
      ],
      ['a database that is closed to the role', () => stage.server.urlFor(outsider), /permission denied for database "closed/],
    ];
    const outsider = { user: `outsider_${kind.toLowerCase()}`, database: `closed_${kind.toLowerCase()}`, password: SECRET };
    beforeAll(async () => {
      await stage.sql(`CREATE ROLE ${outsider.user} LOGIN`);
      await stage.sql(`CREATE DATABASE ${outsider.database}`);
      await stage.sql(`REVOKE CONNECT ON DATABASE ${outsider.database} FROM PUBLIC`);
    });

    it.each(refusals)('%s', async (_, url, message) => {
      const solo = createSolo({ provider: open({ connectionString: url() }) });
      onTestFinished(() => solo.close());
      const events: unknown[] = [];
      solo.on('unconfirmed', (detail) => events.push(detail));
      const error = await failureOf(solo.acquire('job', { waitMs: Number.POSITIVE_INFINITY }));
      expect(error).toBeInstanceOf(LoginRefusedError);
      expect(error.message).toMatch(message);
      expect(shown(error)).not.toContain(SECRET);
      // It was asked once.
      expect(events).toEqual([]);
    });
  });

  it('waits where it was let in before: a password that is exchanged is an outage', async () => {
    const user = `mover_${kind.toLowerCase()}`;
    await stage.sql(`CREATE ROLE ${user} LOGIN SUPERUSER`);
    const solo = createSolo({ provider: open({ connectionString: stage.server.urlFor({ user }) }) });
    onTestFinished(() => solo.close());
    expect(await solo.run('moved', () => 1)).toMatchObject({ status: 'ran' });
    await stage.sql(`ALTER ROLE ${user} NOLOGIN`);
    await stage.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${user}'`);
    const refused = new Promise<unknown>((resolve) => {
      solo.on('unconfirmed', ({ error }) => {
        if (/not permitted to log in/.test(String(error))) resolve(error);
      });
    });
    const waiting = solo.acquire('moved', { waitMs: Number.POSITIVE_INFINITY });
    expect(await refused).toBeInstanceOf(ProviderError);
    await stage.sql(`ALTER ROLE ${user} LOGIN`);
    await (await waiting).release();
  });

  it.each([
    [`postgres://user:${SECRET}@[half/db`],
    [`postgres://user:${SECRET}%@host:port:port/db`],
    [`mysql://user:${SECRET}@host/db`],
    [`host=127.0.0.1 password=${SECRET}`],
  ])('refuses at the door what is no connection string: %#', (connectionString) => {
    let error: unknown;
    try {
      open({ connectionString });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(OptionError);
    expect(shown(error)).not.toContain(SECRET);
  });

  it('refuses an empty connection string, as an unset variable gives', () => {
    expect(() => open({ connectionString: '' })).toThrow(/environment variable/);
    expect(() => open({ connectionString: undefined })).toThrow(OptionError);
    expect(() => open(undefined as unknown as object)).toThrow(/takes an object/);
    expect(() => open('postgres://x' as unknown as object)).toThrow(/takes an object/);
  });

  it('refuses an option that it does not have, rather than connecting to what the environment names', () => {
    expect(() => open({ connectionSting: stage.server.url } as object)).toThrow(
      /no option "connectionSting". What there is: connectionString/,
    );
  });

  it('refuses a password beside a connection string, which the driver would not heed', () => {
    const connectionString = stage.server.url;
    expect(() => open({ connectionString, password: () => SECRET })).toThrow(/connectionString or password, not both/);
  });

  it('refuses names of schemas that cannot be', () => {
    for (const schema of ['', 'pg_mine', 'x'.repeat(64), 'nul\0']) {
      expect(() => open({ connectionString: stage.server.url, schema })).toThrow(OptionError);
      expect(() => schemaSql({ schema })).toThrow(OptionError);
    }
  });

  it('takes any name that Postgres can keep, and says which it cannot', async () => {
    const solo = createSolo({ provider: open({ connectionString: stage.server.url }), namespace: 'n'.repeat(100) });
    onTestFinished(() => solo.close());
    for (const name of [
      `it's`,
      '"quoted"',
      '$1; DROP TABLE job',
      'line\nbreak',
      '😀'.repeat(500),
      '\u202e\t\\',
      '%_',
      '{}',
      'NULL',
    ]) {
      const lease = await solo.tryAcquire(name);
      expect((await solo.inspect(name))?.name).toBe(name);
      expect(await lease!.release()).toBe(true);
    }
    await expect(solo.tryAcquire('nul\0')).rejects.toThrow(/NUL/);
    await expect(solo.acquire('nul\0', { waitMs: 1_000 })).rejects.toThrow(OptionError);
    await expect(solo.inspect('nul\0')).rejects.toThrow(OptionError);
    await expect(solo.tryAcquire('x'.repeat(501))).rejects.toThrow(/501 characters; 500 are allowed/);
  });

  it('keeps labels and errors as they are, whatever they hold', async () => {
    const provider = stage.open(open({ connectionString: stage.server.url }));
    const holder = { host: `o'hara "x"`, pid: 1, label: 'ü😀\\' };
    const grant = await acquired(provider, `${kind} label`, { holder });
    expect((await provider.inspect(`${kind} label`))?.holder).toMatchObject(holder);
    await provider.release(grant, { result: 'failed', error: 'nul\0, quote \' and "' }, never);
    expect((await provider.inspect(`${kind} label`))?.lastError).toBe('nul, quote \' and "');
  });

  it('suffers from no setting that the role has by default', async () => {
    const user = `odd_${kind.toLowerCase()}`;
    await stage.sql(`CREATE ROLE ${user} SUPERUSER LOGIN`);
    for (const setting of [
      "default_transaction_isolation = 'serializable'",
      'synchronous_commit = off',
      "statement_timeout = '1s'",
      "lock_timeout = '100ms'",
      "idle_session_timeout = '500ms'",
      "search_path = 'nowhere'",
      "TimeZone = 'Asia/Kathmandu'",
      "DateStyle = 'German'",
      'extra_float_digits = -15',
      "IntervalStyle = 'sql_standard'",
    ]) {
      await stage.sql(`ALTER ROLE ${user} SET ${setting}`);
    }
    const connectionString = stage.server.urlFor({ user });
    const [a, b] = [stage.open(open({ connectionString })), stage.open(open({ connectionString }))];
    const at = new Date('2026-01-02T03:04:05.678Z');
    const name = `${kind} odd`;
    const grant = await acquired(a, name, { occurrence: { at, attempts: 1 } });
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(await a.renew(grant, never)).toBe(true);
    const request = asked(name, { occurrence: { at, attempts: 1 } });
    const controller = new AbortController();
    const waiting = b.untilFree!(request, controller.signal);
    expect(await b.tryAcquire(asked(name, { occurrence: { at, attempts: 2 } }), never)).toMatchObject({ reason: 'held' });
    expect(await a.release(grant, { result: 'done' }, never)).toBe(true);
    await waiting;
    expect(await b.tryAcquire(request, never)).toMatchObject({ reason: 'done' });
    controller.abort();
    expect((await b.inspect(name))?.occurrence?.at).toEqual(at);
    expect(Math.abs(((await b.inspect(name))?.acquiredAt.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
  });
});

it('lease rows refuse a pool whose transactions are serializable, with the remedy', async () => {
  await stage.sql('CREATE ROLE strict SUPERUSER LOGIN');
  await stage.sql("ALTER ROLE strict SET default_transaction_isolation = 'serializable'");
  const pool = openPool({ connectionString: stage.server.urlFor({ user: 'strict' }) });
  onTestFinished(() => pool.end());
  const error = await failureOf(postgresLease({ pool }).tryAcquire(asked('strict'), never));
  expect(error.message).toMatch(/as serializable.*default_transaction_isolation = 'read committed'/);
});

it('lease rows do not wait for a pool whose login is refused', async () => {
  const pool = openPool({ connectionString: stage.server.urlFor({ user: 'secretive', password: SECRET }) });
  onTestFinished(() => pool.end());
  const solo = createSolo({ provider: postgresLease({ pool }) });
  onTestFinished(() => solo.close());
  expect(await failureOf(solo.acquire('pool', { waitMs: Number.POSITIVE_INFINITY }))).toBeInstanceOf(LoginRefusedError);
});

it('lease rows do not mind type parsers that the user has changed', async () => {
  const types = new pg.TypeOverrides();
  for (const oid of [16, 20, 23, 25, 114, 701, 1184, 3802])
    types.setTypeParser(oid, (text: string) => (oid === 25 ? text : { odd: text }));
  const pool = openPool({ connectionString: stage.server.url, types });
  onTestFinished(() => pool.end());
  const provider = postgresLease({ pool });
  const at = new Date(1_000);
  const grant = await acquired(provider, 'parsers', { occurrence: { at, attempts: 2 } });
  await provider.release(grant, { result: 'failed', error: 'x' }, never);
  const again = await acquired(provider, 'parsers', { occurrence: { at, attempts: 2 } });
  expect(again).toMatchObject({ attempt: 2, previous: { at, state: 'failed', attempt: 1 } });
  expect((await provider.inspect('parsers'))?.fence).toBe(again.fence);
});

it('a pool is not closed, and what is no pool is refused', async () => {
  for (const none of [{}, null, undefined]) expect(() => postgresLease({ pool: none as pg.Pool })).toThrow(/query\(text, values\)/);
  expect(() => postgresLease({ pool: new pg.Pool(), host: 'x' })).toThrow(/a pool or host, not both/);
  const pool = openPool({ connectionString: stage.server.url });
  onTestFinished(() => pool.end());
  const provider = postgresLease({ pool });
  await acquired(provider, 'pool');
  await provider.close();
  expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
});

it.each([
  [{ maxLocks: 0 }, /maxLocks/],
  [{ waitSessions: -1 }, /waitSessions/],
  [{ waitSessions: 1.5 }, /waitSessions/],
  [{ waitSliceMs: 5 }, /waitSliceMs/],
  [{ settleMs: -1 }, /settleMs/],
  [{ settleMs: Number.NaN }, /settleMs/],
  [{ settleAfter: 'never' }, /settleAfter is 'crash' or 'restart', not "never"/],
])('postgresAdvisory refuses %o', (options, message) => {
  expect(() => postgresAdvisory({ connectionString: stage.server.url, ...(options as object) })).toThrow(message);
});
