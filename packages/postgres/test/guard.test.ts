import { createSolo, LeaseLostError, OptionError, UnsupportedError, type LockProvider } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import pg from 'pg';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { guard, postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, openPool, until } from './server.ts';

const stage = onPostgres();
const clients: pg.Client[] = [];
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end().catch(() => {}))));
beforeAll(() => stage.sql('CREATE TABLE effect (name text, fence bigint)'));

async function transaction(isolation = 'READ COMMITTED'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stage.server.url });
  client.on('error', () => {});
  await client.connect();
  clients.push(client);
  await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
  return client;
}

const write = (client: pg.Client, name: string): Promise<unknown> => client.query('INSERT INTO effect VALUES ($1)', [name]);
const effects = async (name: string): Promise<number> => (await stage.sql('SELECT 1 FROM effect WHERE name = $1', [name])).length;

const providers: Record<string, () => LockProvider> = {
  postgresAdvisory: () => postgresAdvisory({ connectionString: stage.server.url }),
  postgresLease: () => postgresLease({ connectionString: stage.server.url }),
};

describe.each(Object.keys(providers))('a transaction guarded by %s', (kind) => {
  const open = (): LockProvider => stage.open(providers[kind]!());
  let n = 0;
  const fresh = (): string => `${kind} ${(n += 1)}`;

  it.each(['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'])('commits while the lock is held (%s)', async (isolation) => {
    const [provider, name] = [open(), fresh()];
    const grant = await acquired(provider, name);
    const client = await transaction(isolation);
    await write(client, name);
    // Renewals in the meantime change nothing.
    expect(await provider.renew(grant, never)).toBe(true);
    await guard({ grant }, client);
    expect(await provider.renew(grant, never)).toBe(true);
    await client.query('COMMIT');
    expect(await effects(name)).toBe(1);
  });

  it.each(['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'])(
    'fails once the lock was taken over, and cannot be committed (%s)',
    async (isolation) => {
      const [provider, name] = [open(), fresh()];
      const grant = await acquired(provider, name);
      const client = await transaction(isolation);
      await write(client, name);
      await provider.release(grant, { result: 'done' }, never);
      await acquired(open(), name);
      const error = await failureOf(guard({ grant }, client));
      // A transaction that sees the past of a row is told by Postgres itself that it cannot go on.
      const told = kind === 'postgresLease' && isolation !== 'READ COMMITTED' ? '40001' : 'SOLORUN_LEASE_LOST';
      expect(error).toMatchObject({ code: told });
      // Whatever the caller makes of the error.
      expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
      expect(await effects(name)).toBe(0);
    },
  );

  it('fails also after a release that nobody has followed', async () => {
    const [provider, name] = [open(), fresh()];
    const grant = await acquired(provider, name);
    await provider.release(grant, { result: 'done' }, never);
    await expect(guard({ grant }, await transaction())).rejects.toBeInstanceOf(LeaseLostError);
  });

  it('keeps a successor out until it has committed, and holds nobody else up', async () => {
    const [a, b, name] = [open(), open(), fresh()];
    const grant = await acquired(a, name);
    const client = await transaction();
    await guard({ grant }, client);
    await write(client, name);
    await a.release(grant, { result: 'done' }, never);
    expect(await b.tryAcquire(asked(name), never)).toMatchObject({ acquired: false, reason: 'held' });
    // The same session goes on serving other names.
    await acquired(b, `${name} beside`);
    const solo = createSolo({ provider: b });
    const waiting = solo.acquire(name, { waitMs: 15_000 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await client.query('COMMIT');
    const seen = await effects(name);
    expect((await waiting).fence).toBeGreaterThan(grant.fence);
    expect(seen).toBe(1);
    await solo.close();
  });

  it('is ended by the server when its holder is silent for longer than the lease', async () => {
    const [a, b, name] = [open(), open(), fresh()];
    const grant = await acquired(a, name, { leaseMs: 700 });
    const client = await transaction();
    await write(client, name);
    await guard({ grant }, client);
    await until('a successor holds', async () => (await b.tryAcquire(asked(name), never)).acquired, 6_000);
    await expect(client.query('COMMIT')).rejects.toThrow(/connection|terminat/i);
    expect(await effects(name)).toBe(0);
  });

  it('says what is wrong outside of a transaction', async () => {
    const [provider, name] = [open(), fresh()];
    const grant = await acquired(provider, name);
    const client = await transaction();
    await client.query('ROLLBACK');
    await expect(guard({ grant }, client)).rejects.toBeInstanceOf(OptionError);
  });

  it('works with the context of a run', async () => {
    const [solo, name] = [createSolo({ provider: open() }), fresh()];
    await solo.run(name, async (run) => {
      const client = await transaction();
      await guard(run, client);
      await write(client, name);
      await client.query('COMMIT');
    });
    await solo.close();
    expect(await effects(name)).toBe(1);
  });
});

it('is not to be had of a pool, which may run each statement elsewhere', async () => {
  const grant = await acquired(stage.open(postgresLease({ connectionString: stage.server.url })), 'pool');
  const pool = openPool({ connectionString: stage.server.url });
  await expect(guard({ grant }, pool)).rejects.toThrow(/not a pool.*pool\.connect\(\)/);
  await pool.end();
});

it('is not to be had of another provider', async () => {
  const grant = await acquired(memory(), 'x');
  await expect(guard({ grant }, await transaction())).rejects.toBeInstanceOf(UnsupportedError);
});
