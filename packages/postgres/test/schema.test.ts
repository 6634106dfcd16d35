import { createSolo, UnsupportedError } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres } from './server.ts';

const stage = onPostgres();

/** A role with what it may do, and its URL. */
async function role(name: string, ...grants: string[]): Promise<string> {
  await stage.sql(`CREATE ROLE ${name} LOGIN`);
  for (const grant of grants) await stage.sql(grant);
  return stage.server.urlFor({ user: name });
}

function warnings(): { readonly heard: string[]; readonly onWarning: (message: string) => void } {
  const heard: string[] = [];
  return { heard, onWarning: (message) => void heard.push(message) };
}

describe('the schema', () => {
  it('is made once by many who need it at the same moment', async () => {
    const providers = Array.from({ length: 12 }, (_, n) => {
      const options = { connectionString: stage.server.url, schema: 'raced' };
      return stage.open(n % 2 === 0 ? postgresAdvisory(options) : postgresLease(options));
    });
    const results = await Promise.all(providers.map(async (provider) => provider.tryAcquire(asked('first'), never)));
    expect(results.filter(({ acquired: ours }) => ours)).toHaveLength(2);
  });

  it('may have any name', async () => {
    for (const schema of [`it's "quoted"; --`, 'Mixed Case', 'ü😀']) {
      for (const open of [postgresAdvisory, postgresLease]) {
        const provider = stage.open(open({ connectionString: stage.server.url, schema }));
        const grant = await acquired(provider, 'x', { occurrence: { at: new Date(0), attempts: 1 } });
        expect(await provider.release(grant, { result: 'done' }, never)).toBe(true);
        expect((await provider.inspect('x'))?.occurrence?.state).toBe('done');
        const [row] = await stage.sql('SELECT nspname FROM pg_namespace WHERE nspname = $1', [schema]);
        expect(row).toEqual({ nspname: schema });
      }
    }
  });

  it('keeps apart the lease rows of programs that use different ones, and wakes their waiters through channels of their own', async () => {
    const one = stage.open(postgresLease({ connectionString: stage.server.url, schema: 'one' }));
    const two = stage.open(postgresLease({ connectionString: stage.server.url, schema: 'two' }));
    await acquired(one, 'x');
    expect((await acquired(two, 'x')).fence).toBe(1n);
  });

  it('can be made by hand, as often as one likes, and used by a role that may make nothing', async () => {
    await stage.sql(schemaSql({ schema: 'manual' }));
    await stage.sql(schemaSql({ schema: 'manual' }));
    const connectionString = await role(
      'worker',
      'GRANT USAGE ON SCHEMA manual TO worker',
      'GRANT USAGE, UPDATE ON SEQUENCE manual.fence TO worker',
      'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA manual TO worker',
    );
    const { heard, onWarning } = warnings();
    for (const provider of [
      postgresAdvisory({ connectionString, schema: 'manual', onWarning }),
      postgresLease({ connectionString, schema: 'manual' }),
    ]) {
      stage.open(provider);
      const grant = await acquired(provider, 'x', { occurrence: { at: new Date(0), attempts: 1 } });
      await provider.release(grant, { result: 'done' }, never);
      expect(heard).toEqual([]);
    }
  });

  it('of a newer version serves an older library, and what the newer one keeps there is left alone', async () => {
    await stage.sql(schemaSql({ schema: 'newer' }));
    await stage.sql('INSERT INTO newer.schema_version VALUES (7)');
    await stage.sql("ALTER TABLE newer.job ADD COLUMN mood text NOT NULL DEFAULT 'calm'");
    await stage.sql('CREATE INDEX ON newer.job (mood)');
    for (const open of [postgresAdvisory, postgresLease]) {
      const provider = stage.open(open({ connectionString: stage.server.url, schema: 'newer' }));
      const grant = await acquired(provider, 'x', { occurrence: { at: new Date(0), attempts: 1 } });
      await stage.sql("UPDATE newer.job SET mood = 'merry'");
      await provider.release(grant, { result: 'done' }, never);
      await acquired(provider, 'x');
      expect(await stage.sql("SELECT 1 FROM newer.job WHERE mood = 'merry' AND fence > 1")).toHaveLength(
        open === postgresLease ? 2 : 1,
      );
    }
  });

  it('leaps ahead with its fences when it was restored elsewhere', async () => {
    const options = { connectionString: stage.server.url, schema: 'restored', settleMs: 0 };
    const before = await acquired(stage.open(postgresAdvisory(options)), 'x');
    expect(before.fence).toBeLessThan(100n);
    // What a dump and its restoration come to: the same rows in another table.
    await stage.sql('ALTER TABLE restored.uptime RENAME TO old');
    await stage.sql('CREATE UNLOGGED TABLE restored.uptime (LIKE restored.old INCLUDING ALL)');
    await stage.sql('INSERT INTO restored.uptime SELECT * FROM restored.old');
    expect((await acquired(stage.open(postgresAdvisory(options)), 'y')).fence).toBeGreaterThan(2n ** 32n);
  });

  it('that is only half there is completed', async () => {
    await stage.sql('CREATE SCHEMA half; CREATE SEQUENCE half.fence');
    const grant = await acquired(stage.open(postgresAdvisory({ connectionString: stage.server.url, schema: 'half' })), 'x');
    expect(grant.fence).toBeGreaterThan(0n);
  });
});

describe('a role that may create nothing', () => {
  it('gets locks all the same, without occurrences, with fences labelled for what they are, and is told', async () => {
    const connectionString = await role('lowly', 'REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const { heard, onWarning } = warnings();
    const options = { connectionString, schema: 'forbidden', onWarning };
    const [a, b] = [stage.open(postgresAdvisory(options)), stage.open(postgresAdvisory(options))];
    const first = await acquired(a, 'plain');
    expect(heard.join()).toMatch(/there is no schema forbidden.*permission denied.*schemaSql\(\)/);
    expect(a.guarantees).toMatchObject({ fence: 'until server crash', occurrences: false });
    expect(a.guarantees.caveats.join()).toContain('there is no schema forbidden');
    expect(await b.tryAcquire(asked('plain'), never)).toMatchObject({
      acquired: false,
      reason: 'held',
      holder: { host: 'test.host', pid: 4711, label: 'tester' },
    });
    expect(await a.tryAcquire(asked('plain'), never)).toMatchObject({ acquired: false, reason: 'held' });
    expect(await a.renew(first, never)).toBe(true);
    expect(await a.release(first, { result: 'done' }, never)).toBe(true);
    const second = await acquired(b, 'plain');
    expect(second.fence).toBeGreaterThan(first.fence);
    await expect(a.tryAcquire(asked('y', { occurrence: { at: new Date(0), attempts: 1 } }), never)).rejects.toBeInstanceOf(
      UnsupportedError,
    );
    await expect(a.inspect('plain')).rejects.toThrow(/schemaSql/);

    const solo = createSolo({ provider: a });
    onTestFinished(() => solo.close());
    expect(String(solo.explain())).toMatch(/G4 Once per occurrence: no/);
    expect((await solo.run('works', () => 1)).status).toBe('ran');
    await expect(solo.run('x', () => 1, { occurrence: new Date(0) })).rejects.toBeInstanceOf(UnsupportedError);
    // Waiting works as well.
    const waiting = solo.acquire('plain', { waitMs: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await b.release(second, { result: 'done' }, never);
    expect((await waiting).fence).toBeGreaterThan(second.fence);
  });

  it('is refused lease rows, with the remedy', async () => {
    const connectionString = await role('lower');
    const error = await failureOf(
      stage.open(postgresLease({ connectionString, schema: 'forbidden' })).tryAcquire(asked('x'), never),
    );
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(
      /no schema forbidden.*schemaSql\(\).*USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE/,
    );
  });

  it('or may only read, or lacks a right on the tables, is told so', async () => {
    await stage.sql(schemaSql({ schema: 'guarded' }));
    const reader = await role('reader', 'ALTER ROLE reader SET default_transaction_read_only = on');
    const outsider = await role(
      'outsider',
      'GRANT USAGE ON SCHEMA guarded TO outsider',
      'GRANT SELECT ON ALL TABLES IN SCHEMA guarded TO outsider',
    );
    // Not even the schema.
    const stranger = await role('stranger');
    const strange = await failureOf(
      stage.open(postgresLease({ connectionString: stranger, schema: 'guarded' })).tryAcquire(asked('x'), never),
    );
    expect(strange.message).toMatch(/may not use the schema guarded, or the tables in it.*USAGE on the schema/);
    // Half of what the sequence needs: fences could not leap.
    const halfway = await role(
      'halfway',
      'GRANT USAGE ON SCHEMA guarded TO halfway',
      'GRANT UPDATE ON SEQUENCE guarded.fence TO halfway',
      'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA guarded TO halfway',
    );
    const degraded = stage.open(postgresAdvisory({ connectionString: halfway, schema: 'guarded', onWarning: () => {} }));
    await acquired(degraded, 'halfway');
    expect(degraded.guarantees.fence).toBe('until server crash');
    // Lease rows need nothing of it.
    await acquired(stage.open(postgresLease({ connectionString: halfway, schema: 'guarded' })), 'halfway');
    for (const [url, reason] of [
      [reader, /only reads \(default_transaction_read_only\)/],
      [outsider, /may not use the tables of the schema guarded/],
    ] as const) {
      const { heard, onWarning } = warnings();
      const advisory = stage.open(postgresAdvisory({ connectionString: url, schema: 'guarded', onWarning }));
      await acquired(advisory, `right ${url}`);
      expect(heard.join()).toMatch(reason);
      const error = await failureOf(
        stage.open(postgresLease({ connectionString: url, schema: 'guarded' })).tryAcquire(asked('x'), never),
      );
      expect(error.message).toMatch(reason);
    }
  });
});
