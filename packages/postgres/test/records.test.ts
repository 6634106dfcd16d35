import { createSolo, type LockProvider } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard, postgresAdvisory, schemaSql, type PostgresAdvisoryOptions } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

// Session locks and the table that tells of them.
const stage = onPostgres({ settings: { wal_writer_delay: '10s' } });
const open = (more: Partial<PostgresAdvisoryOptions> = {}): LockProvider =>
  stage.open(postgresAdvisory({ connectionString: stage.server.url, ...more }));

async function connected(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stage.server.url });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

describe('fences', () => {
  it.each(['fresh', 'known'])('go on above the rows when those are ahead of the sequence (a %s server)', async (server) => {
    const schema = `ahead_${server}`;
    if (server === 'known') await open({ schema }).tryAcquire(asked('before'), never);
    else await stage.sql(schemaSql({ schema }));
    await stage.sql(`INSERT INTO ${schema}.job (kind, name, key, fence, owner, host, pid, acquired_at, held, claimed)
      VALUES ('advisory', 'restored', 1, 1000000, 'o', 'h', 1, now(), false, false)`);
    const provider = open({ schema, settleMs: 0 });
    const first = await acquired(provider, 'restored');
    expect(first.fence).toBeGreaterThan(1_000_000n);
    await provider.release(first, { result: 'done' }, never);
    const second = await acquired(provider, 'restored', { occurrence: { at: new Date(0), attempts: 1 } });
    expect(second.fence).toBeGreaterThan(first.fence);
    await provider.release(second, { result: 'done' }, never);
    expect((await acquired(provider, 'restored')).fence).toBeGreaterThan(second.fence);
  });

  it('go on above a row that was restored under an open session, when its occurrence is claimed', async () => {
    const schema = 'restored_beside';
    const provider = open({ schema });
    await acquired(provider, 'before');
    await stage.sql(`INSERT INTO ${schema}.job (kind, name, key, fence, owner, host, pid, acquired_at, held, claimed)
      VALUES ('advisory', 'restored', 1, 1000000, 'o', 'h', 1, now(), false, false)`);
    const { fence } = await acquired(provider, 'restored', { occurrence: { at: new Date(0), attempts: 1 } });
    expect(fence).toBe(1_000_001n);
  });
});

describe('a row that somebody has locked', () => {
  it('holds up neither its own lock nor any other of the session', { timeout: 30_000 }, async () => {
    const solo = createSolo({ provider: open(), leaseMs: 2_000 });
    onTestFinished(() => solo.close());
    await solo.run('locked', () => {});
    await until('it is written', async () => (await solo.inspect('locked')) !== undefined);
    const healthy = await solo.acquire('healthy', { waitMs: 0 });
    const client = await connected();
    await client.query("BEGIN; SELECT 1 FROM solorun.job WHERE name = 'locked' FOR UPDATE");
    const begun = performance.now();
    for (let run = 0; run < 5; run += 1) {
      expect(await solo.run('locked', () => {})).toMatchObject({ status: 'ran' });
      expect(await solo.run('other', () => {})).toMatchObject({ status: 'ran' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // An occurrence needs the row: it is refused rather than waited for.
    expect(await solo.run('locked', () => {}, { occurrence: new Date(0) })).toMatchObject({ status: 'skipped', reason: 'held' });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(performance.now() - begun).toBeLessThan(15_000);
    expect(healthy.signal.aborted).toBe(false);
    await client.query('COMMIT');
    expect(await solo.run('locked', () => {}, { occurrence: new Date(0) })).toMatchObject({ status: 'ran' });
    await healthy.release();
  });
});

describe('a table that cannot be written to any more', () => {
  it('costs no lease', { timeout: 30_000 }, async () => {
    await stage.sql('CREATE ROLE fallen LOGIN');
    await stage.sql(`${schemaSql({ schema: 'fallen' })} GRANT USAGE ON SCHEMA fallen TO fallen;
      GRANT USAGE, UPDATE ON SEQUENCE fallen.fence TO fallen; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA fallen TO fallen`);
    const told: string[] = [];
    const connectionString = stage.server.urlFor({ user: 'fallen' });
    const provider = open({ connectionString, schema: 'fallen', onWarning: (message: string) => told.push(message) });
    const solo = createSolo({ provider, leaseMs: 1_500 });
    await solo.run('warm', () => {});
    await solo.inspect('warm');
    await stage.sql('REVOKE INSERT, UPDATE ON fallen.job FROM fallen');
    const lease = await solo.acquire('job', { waitMs: 0 });
    await until('it is told', () => told.length > 0, 10_000);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(lease.signal.aborted).toBe(false);
    expect(told).toHaveLength(1);
    expect(await lease.release()).toBe(true);
    await solo.close();
  });
});

describe('what is newer stands', () => {
  it('an operator who released a lock is not undone by what is written late, and the holder learns of it', async () => {
    const [a, b] = [open(), open()];
    const grant = await acquired(a, 'operated');
    await until('it is written', async () => (await b.inspect('operated'))?.owner === grant.owner);
    expect(await b.release({ ...grant, attempt: 1 }, { result: 'failed', error: 'released by hand' }, never)).toBe(true);
    // Its holder ends, and says so late.
    expect(await a.release(grant, { result: 'done' }, never)).toBe(true);
    await a.inspect('operated');
    expect(await b.inspect('operated')).toMatchObject({ held: false, lastError: 'released by hand' });
  });

  it('keeps the success of a run whose successor was written first', async () => {
    const [a, b] = [open(), open()];
    const first = await acquired(a, 'both');
    await a.release(first, { result: 'done' }, never);
    const second = await acquired(b, 'both');
    await b.inspect('both');
    await a.inspect('both');
    const record = await b.inspect('both');
    expect(record).toMatchObject({ held: true, owner: second.owner });
    expect(record?.lastSuccessAt).toBeInstanceOf(Date);
  });
});

describe('what carries an occurrence', () => {
  it('is flushed when it is claimed and when it ends, and a plain lock is not', async () => {
    const provider = open();
    const unflushed = async (): Promise<boolean> => {
      const [row] = await stage.sql('SELECT (pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn())::text AS behind');
      return row!['behind'] === 'true';
    };
    await provider.release(await acquired(provider, 'plain'), { result: 'done' }, never);
    await provider.inspect('plain');
    expect(await unflushed()).toBe(true);
    const grant = await acquired(provider, 'once', { occurrence: { at: new Date(0), attempts: 1 } });
    expect(await unflushed()).toBe(false);
    await provider.release(await acquired(provider, 'plain'), { result: 'done' }, never);
    await provider.inspect('plain');
    expect(await unflushed()).toBe(true);
    await provider.release(grant, { result: 'done' }, never);
    expect(await unflushed()).toBe(false);
  });
});

describe('a guarded transaction of a holder that is gone', () => {
  it.each(['with an occurrence', 'without tables'])('keeps a successor out (%s)', async (how) => {
    const a = open();
    const grant = await acquired(a, `guarded ${how}`);
    const client = await connected();
    await client.query('BEGIN');
    await guard({ grant }, client);
    await a.release(grant, { result: 'done' }, never);
    await stage.sql('DO $$ BEGIN CREATE ROLE bare LOGIN; EXCEPTION WHEN duplicate_object THEN END $$');
    await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const b =
      how === 'without tables'
        ? open({ connectionString: stage.server.urlFor({ user: 'bare' }), schema: 'nowhere', onWarning: () => {} })
        : open();
    const more = how === 'without tables' ? {} : { occurrence: { at: new Date(0), attempts: 1 } };
    expect(await b.tryAcquire(asked(`guarded ${how}`, more), never)).toMatchObject({ acquired: false, reason: 'held' });
    await client.query('COMMIT');
    await acquired(b, `guarded ${how}`, more);
  });
});
