import { OptionError, ProviderError } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { hostsOf } from '../src/server/hosts.ts';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, shown, until } from './server.ts';

const SECRET = 'h0rse,battery@9';
const login = `u:${encodeURIComponent(SECRET)}`;
const both = [
  ['postgresAdvisory', postgresAdvisory],
  ['postgresLease', postgresLease],
] as const;

describe('a connection that names several servers', () => {
  it.each([
    [
      { connectionString: `postgres://${login}@a:1,b:2/db?target_session_attrs=read-write&sslmode=disable` },
      [
        { connectionString: `postgres://${login}@a:1/db?sslmode=disable` },
        { connectionString: `postgres://${login}@b:2/db?sslmode=disable` },
      ],
    ],
    [
      { connectionString: `postgresql://${login}@[::1]:5432,b` },
      [{ connectionString: `postgresql://${login}@[::1]:5432?` }, { connectionString: `postgresql://${login}@b?` }],
    ],
    [
      { connectionString: `postgres://${login}@/db?host=a,b&port=1,2` },
      [
        { connectionString: `postgres://${login}@/db?host=a&port=1` },
        { connectionString: `postgres://${login}@/db?host=b&port=2` },
      ],
    ],
    [
      { host: 'a,b', port: 7 },
      [
        { host: 'a', port: 7 },
        { host: 'b', port: 7 },
      ],
    ],
    [{ connectionString: `postgres://${login}@a:1/db` }, [{ connectionString: `postgres://${login}@a:1/db` }]],
    [{ host: 'a' }, [{ host: 'a' }]],
  ])('is one connection for each: %#', (connection, expected) => {
    const hosts = hostsOf(connection);
    expect(hosts.map(({ connection: one }) => one)).toEqual(expected);
    for (const { name } of hosts) expect(name).not.toContain('h0rse');
  });

  it.each([
    [
      {},
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
    ],
    [
      { connectionString: `postgres://${login}@/db` },
      [
        { connectionString: `postgres://${login}@/db?host=a&port=1` },
        { connectionString: `postgres://${login}@/db?host=b&port=2` },
      ],
    ],
    [{ connectionString: `postgres://${login}@c:3/db` }, [{ connectionString: `postgres://${login}@c:3/db` }]],
  ])('takes them from PGHOST and PGPORT where it names none: %#', (connection, expected) => {
    vi.stubEnv('PGHOST', 'a,b');
    vi.stubEnv('PGPORT', '1,2');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(hostsOf(connection).map(({ connection: one }) => one)).toEqual(expected);
  });

  it.each(both)('is refused at the door by %s where it cannot be understood, or leads to standbys', (_, open) => {
    for (const [connectionString, message] of [
      [`postgres://${login}@a:1,/db`, /cannot be understood/],
      [`postgres://${login}@a:1,b:x/db`, /cannot be understood/],
      [
        `postgres://${login}@a,b/db?target_session_attrs=standby`,
        /target_session_attrs of the connectionString is any, read-write, primary.*not "standby"/,
      ],
      [`postgres://${login}@a/db?target_session_attrs=prefer-standby`, /locks are those of the primary/],
      [`postgres://${login}@/db?host=a,b,c&port=1,2`, /3 hosts and 2 ports/],
    ] as const) {
      let error: unknown;
      try {
        open({ connectionString });
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(OptionError);
      expect(String(error)).toMatch(message);
      expect(shown(error)).not.toContain('h0rse');
    }
  });

  it.each(both)('whom nobody answers is told of host by host, without the login, by %s', async (_, open) => {
    const provider = open({ connectionString: `postgres://${login}@127.0.0.1:1,127.0.0.1:2/db` });
    onTestFinished(() => provider.close());
    const error = await failureOf(provider.tryAcquire(asked('x'), never));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.message).toMatch(/none of 2 hosts is one.*127\.0\.0\.1:1: .*ECONNREFUSED.*127\.0\.0\.1:2: .*ECONNREFUSED/);
    expect(shown(error)).not.toContain('h0rse');
  });
});

describe('a primary and its standby', () => {
  const stage = onPostgres();

  it('are told apart, and the new primary is found after a fail-over', { timeout: 60_000 }, async () => {
    await acquired(stage.open(postgresAdvisory({ connectionString: stage.server.url })), 'before');
    const standby = await stage.server.standby();
    const connectionString = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${stage.server.port}/postgres?target_session_attrs=read-write`;
    const providers = both.map(([, open]) => stage.open(open({ connectionString })));
    const first = await Promise.all(providers.map((provider) => acquired(provider, 'x', { leaseMs: 2_000 })));
    const there = new pg.Client({ connectionString: standby.url });
    await there.connect();
    await until(
      'the standby has the rows',
      async () => (await there.query("SELECT 1 FROM solorun.job WHERE name = 'x'")).rows.length === 2,
    );
    await there.end();
    await stage.server.kill();
    await standby.promote();
    for (const [n, provider] of providers.entries()) {
      let fence: bigint | undefined;
      await until('the new primary is found', async () => {
        const [end] = await Promise.allSettled([provider.tryAcquire(asked('x', { leaseMs: 2_000 }), never)]);
        if (end.status === 'fulfilled' && end.value.acquired) fence = end.value.grant.fence;
        return fence !== undefined;
      });
      expect(fence).toBeGreaterThan(first[n]!.fence);
    }
    await Promise.all(providers.map((provider) => provider.close()));
    await standby.stop();
  });
});
