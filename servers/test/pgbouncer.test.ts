import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pgbouncerMissing, startPgbouncer } from '@solorun/servers/pgbouncer';
import { startPostgres, type Postgres } from '@solorun/servers/postgres';

const missing = pgbouncerMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: PgBouncer. ${missing}\n`);

async function open(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

describe.runIf(missing === undefined || process.env['CI'] === 'true')('PgBouncer', () => {
  let postgres: Postgres;
  beforeAll(async () => {
    postgres = await startPostgres({ database: 'jobs' });
  });
  afterAll(() => postgres.stop());

  it.each([
    ['transaction', true],
    ['statement', true],
    ['session', false],
  ] as const)('in %s mode gives two clients one backend: %s', async (mode, shared) => {
    await using pooler = await startPgbouncer({ postgres, mode });
    await using first = await open(pooler.url);
    await using second = await open(pooler.url);
    const asked = 'SELECT pg_backend_pid() AS pid, pg_try_advisory_lock(1) AS locked, current_database() AS database';
    const [a] = (await first.query(asked)).rows as [{ pid: number }];
    const [b] = (await second.query(asked)).rows as [{ pid: number }];
    expect(a).toEqual({ pid: expect.any(Number), locked: true, database: 'jobs' });
    expect(b).toEqual({ pid: expect.any(Number), locked: shared, database: 'jobs' });
    expect(b.pid === a.pid).toBe(shared);
    await first.query('SELECT pg_advisory_unlock_all()');
  });

  it('takes settings and tells them on its console, and refuses whom it has stopped serving', async () => {
    const pooler = await startPgbouncer({ postgres, mode: 'transaction', settings: { default_pool_size: 3 } });
    {
      await using console = await open(pooler.console);
      const { rows } = await console.query<{ key: string; value: string }>('SHOW CONFIG');
      expect(rows.find(({ key }) => key === 'default_pool_size')?.value).toBe('3');
    }
    await pooler.stop();
    await pooler.stop();
    await expect(open(pooler.url)).rejects.toThrow('ECONNREFUSED');
    expect(pooler.log()).toContain('process up');
  });

  it('says what it said when it does not start', async () => {
    await expect(startPgbouncer({ postgres, mode: 'session', settings: { pool_size: 'x', nonsense: 1 } })).rejects.toThrow(
      /did not start/,
    );
  });
});
