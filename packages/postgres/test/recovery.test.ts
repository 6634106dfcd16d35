import { createSolo, ProviderError, UnsupportedError, type Solo } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';

// Nothing of a server is remembered for ever: what was missing is looked for again.
const stage = onPostgres();
const both = [
  ['postgresAdvisory', postgresAdvisory],
  ['postgresLease', postgresLease],
] as const;
const once = (at: number, attempts = 1): object => ({ occurrence: { at: new Date(at), attempts } });

let databases = 0;
/** A database of the test's own, so that what is done to it touches no other. */
async function database(): Promise<string> {
  const name = `recovery_${(databases += 1)}`;
  await stage.sql(`CREATE DATABASE ${name}`);
  return name;
}

function soloOn(provider: ReturnType<typeof postgresLease>): Solo {
  const solo = createSolo({ provider, leaseMs: 5_000 });
  onTestFinished(() => solo.close());
  return solo;
}

async function inDatabase(name: string, text: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: stage.server.urlFor({ database: name }) });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

describe.each(both)('%s', (kind, open) => {
  const endSessions = (name: string): Promise<unknown> =>
    stage.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);

  it('works again after a database was read-only for a while, and says meanwhile what is true', async () => {
    const name = await database();
    const set = async (on: 'on' | 'off'): Promise<void> => {
      await stage.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = ${on}`);
      await endSessions(name);
    };
    const provider = stage.open(open({ connectionString: stage.server.urlFor({ database: name }) }));
    const before = await acquired(provider, 'x', once(1));
    await provider.release(before, { result: 'done' }, never);
    await set('on');
    for (const more of [{}, once(2)]) {
      // The end of the session before may be what the first try hears of.
      let error: unknown;
      await until('it says so', async () => {
        error = await failureOf(provider.tryAcquire(asked('x', more), never));
        return /read-only/.test(String(error));
      });
      expect(error).toBeInstanceOf(ProviderError);
      expect(String(error)).toMatch(/the database is read-only \(default_transaction_read_only is on\)/);
      expect(String(error)).not.toMatch(/standby/);
    }
    expect(provider.guarantees).toMatchObject({ occurrences: true, fence: 'durable' });
    await set('off');
    let after: bigint | undefined;
    await until('it works again', async () => {
      const [end] = await Promise.allSettled([provider.tryAcquire(asked('x', once(3)), never)]);
      if (end.status === 'fulfilled' && end.value.acquired) after = end.value.grant.fence;
      return after !== undefined;
    });
    expect(after).toBeGreaterThan(before.fence);
  });

  it('says that the database is read-only on the session that it has, and goes on when that is over', async () => {
    const provider = stage.open(open({ connectionString: stage.server.url }));
    const name = `${kind} reload`;
    await acquired(provider, `${name} warm`);
    const reload = async (change: string): Promise<void> => {
      await stage.sql(`ALTER SYSTEM ${change}`);
      await stage.sql('SELECT pg_reload_conf()');
    };
    onTestFinished(() => reload('RESET default_transaction_read_only'));
    await reload('SET default_transaction_read_only = on');
    let refusal: unknown;
    await until('it is refused', async () => {
      const [end] = await Promise.allSettled([provider.tryAcquire(asked(name), never)]);
      if (end.status === 'rejected') refusal = end.reason;
      else if (end.value.acquired) await Promise.allSettled([provider.release(end.value.grant, { result: 'done' }, never)]);
      return refusal !== undefined;
    });
    expect(String(refusal)).toMatch(/the database is read-only/);
    await reload('RESET default_transaction_read_only');
    await until('it works again', async () => {
      const [end] = await Promise.allSettled([provider.tryAcquire(asked(`${name} after`), never)]);
      return end.status === 'fulfilled' && end.value.acquired;
    });
  });

  it('makes the schema anew that was dropped under it, and its fences go on', async () => {
    const name = await database();
    const provider = stage.open(open({ connectionString: stage.server.urlFor({ database: name }) }));
    const before = await acquired(provider, 'x', once(1));
    await provider.release(before, { result: 'done' }, never);
    await inDatabase(name, 'DROP SCHEMA solorun CASCADE');
    const after = await acquired(provider, 'x', once(2));
    expect(after.fence).toBeGreaterThan(before.fence);
    await provider.release(after, { result: 'done' }, never);
    expect(await provider.tryAcquire(asked('x', once(2)), never)).toMatchObject({ reason: 'done' });
    await inDatabase(name, 'DROP TABLE solorun.job');
    const last = await acquired(provider, 'x');
    expect(last.fence).toBeGreaterThan(after.fence);
  });

  it('fails while rights on the tables are taken from it, with the remedy, and works when it has them back', async () => {
    const [schema, user] = [`revoked_${kind.toLowerCase()}`, `user_${kind.toLowerCase()}`];
    await stage.sql(`CREATE ROLE ${user} LOGIN; ${schemaSql({ schema })} GRANT USAGE ON SCHEMA ${schema} TO ${user};
      GRANT USAGE, UPDATE ON SEQUENCE ${schema}.fence TO ${user}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    const provider = stage.open(open({ connectionString: stage.server.urlFor({ user }), schema }));
    const held = await acquired(provider, 'held', once(1));
    await stage.sql(
      `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM ${user}; REVOKE ALL ON SEQUENCE ${schema}.fence FROM ${user}`,
    );
    for (const more of [{}, once(1)]) {
      const error = await failureOf(provider.tryAcquire(asked('x', more), never));
      expect(error).toBeInstanceOf(ProviderError);
      expect(error.message).toMatch(/cannot be used now.*may not use.*SELECT, INSERT and UPDATE on the tables/);
    }
    // A lease row cannot be renewed meanwhile; a session has its locks all the same.
    const [renewal] = await Promise.allSettled([provider.renew(held, never)]);
    expect(renewal?.status).toBe(kind === 'postgresAdvisory' ? 'fulfilled' : 'rejected');
    await stage.sql(`GRANT USAGE, UPDATE ON SEQUENCE ${schema}.fence TO ${user};
      GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    await acquired(provider, 'x', once(1));
    expect(await provider.renew(held, never)).toBe(true);
    expect(await provider.release(held, { result: 'done' }, never)).toBe(true);
    expect((await provider.inspect('held'))?.occurrence?.state).toBe('done');
  });
});

describe('postgresAdvisory', () => {
  it('keeps its locks while the schema is gone, and writes them down when it is there again', async () => {
    const name = await database();
    const connectionString = stage.server.urlFor({ database: name });
    const [provider, other] = [
      stage.open(postgresAdvisory({ connectionString })),
      stage.open(postgresAdvisory({ connectionString })),
    ];
    const plain = await acquired(provider, 'plain');
    const claimed = await acquired(provider, 'claimed', once(1));
    await until('it is written', async () => (await other.inspect('plain'))?.held === true);
    await inDatabase(name, 'DROP SCHEMA solorun CASCADE');
    for (const grant of [plain, claimed]) {
      expect(await provider.renew(grant, never)).toBe(true);
      expect(grant.lost?.aborted).toBe(false);
    }
    // Another process makes the schema again.
    expect((await acquired(other, 'y')).fence).toBeGreaterThan(0n);
    for (const grant of [plain, claimed]) expect(await provider.renew(grant, never)).toBe(true);
    await until('they are written again', async () => (await other.inspect('plain'))?.owner === plain.owner);
    await until('they are written again', async () => (await other.inspect('claimed'))?.occurrence?.state === 'claimed');
    expect(await other.tryAcquire(asked('claimed', once(1)), never)).toMatchObject({ reason: 'held' });
    expect(await provider.release(claimed, { result: 'done' }, never)).toBe(true);
    expect(await other.tryAcquire(asked('claimed', once(1)), never)).toMatchObject({ reason: 'done' });
    expect(await provider.renew(plain, never)).toBe(true);
    expect(await provider.release(plain, { result: 'done' }, never)).toBe(true);
  });

  it('gives its locks back while the schema is gone and it may not make it', async () => {
    await stage.sql(`CREATE ROLE tenant LOGIN; ${schemaSql({ schema: 'tenancy' })} GRANT USAGE ON SCHEMA tenancy TO tenant;
      GRANT USAGE, UPDATE ON SEQUENCE tenancy.fence TO tenant; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tenancy TO tenant`);
    await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const provider = stage.open(postgresAdvisory({ connectionString: stage.server.urlFor({ user: 'tenant' }), schema: 'tenancy' }));
    const grant = await acquired(provider, 'x', once(1));
    await stage.sql('DROP SCHEMA tenancy CASCADE');
    expect(await provider.renew(grant, never)).toBe(true);
    expect((await failureOf(provider.tryAcquire(asked('y'), never))).message).toMatch(
      /cannot be used now.*there is no schema tenancy/,
    );
    expect(await provider.release(grant, { result: 'done' }, never)).toBe(true);
    expect(
      await stage.sql(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = 'postgres')",
      ),
    ).toEqual([]);
  });

  it(
    'keeps occurrences as soon as it finds tables, where it began without, and fences grow over that',
    { timeout: 30_000 },
    async () => {
      await stage.sql('CREATE ROLE guest LOGIN');
      await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
      const options = { connectionString: stage.server.urlFor({ user: 'guest' }), schema: 'later', onWarning: () => {} };
      const provider = postgresAdvisory(options);
      const solo = soloOn(provider);
      const plain = await solo.acquire('x', { waitMs: 0 });
      const held = await solo.acquire('held', { waitMs: 0 });
      expect(await plain.release()).toBe(true);
      await expect(solo.run('x', () => 1, { occurrence: new Date(1_000) })).rejects.toBeInstanceOf(UnsupportedError);
      await stage.sql(`${schemaSql({ schema: 'later' })} GRANT USAGE ON SCHEMA later TO guest; GRANT USAGE, UPDATE ON SEQUENCE later.fence TO guest;
      GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA later TO guest`);
      await until('it looks again', () => provider.guarantees.occurrences);
      const ran = await solo.run('x', ({ fence }) => fence, { occurrence: new Date(1_000) });
      expect(ran.status === 'ran' && ran.value > plain.fence).toBe(true);
      expect((await solo.run('x', () => 1, { occurrence: new Date(1_000) })).status).toBe('skipped');
      expect(held.signal.aborted).toBe(false);
      expect(await held.release()).toBe(true);
    },
  );
});
