import { randomUUID } from 'node:crypto';
import { UnsupportedError, type LockProvider } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { keysOf } from '../src/server/keys.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';
import { version1 } from './version-1.ts';

// The version before this one has the database at the same time.
const stage = onPostgres();

const keys = keysOf('solorun');

type Verb = keyof typeof version1;
type Rows = Record<string, string | null>[];

/** A process of version 1, with a session of its own. */
interface Old {
  ask(verb: Verb, ...values: unknown[]): Promise<Rows>;
  /** Undefined: it was refused. */
  acquire(
    kind: 'lease' | 'advisory',
    name: string,
    at?: Date,
  ): Promise<{ readonly owner: string; readonly fence: bigint } | undefined>;
  release(kind: 'lease' | 'advisory', name: string, owner: string, result: 'done' | 'failed' | 'abandoned'): Promise<void>;
}

async function oldOn(schema: string, settings = ''): Promise<Old> {
  const client = new pg.Client({ connectionString: stage.server.url, options: settings });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  const ask: Old['ask'] = async (verb, ...values) => {
    const text = version1[verb].replaceAll('"solorun"', `"${schema}"`);
    const result = await client.query<Record<string, string | null>>({ text, ...(values.length > 0 && { values }) });
    return result.rows;
  };
  return {
    ask,
    async acquire(kind, name, at) {
      const owner = randomUUID();
      const one = {
        ord: 0,
        name,
        key: keys.of(name).lock,
        guard: keys.of(name).guard,
        mode: 1,
        owner,
        host: 'old.host',
        pid: 1,
        lease: 60_000,
      };
      const claim = at && { at_ms: at.getTime(), attempts: 2, hash: 'old' };
      const [row] = await ask(`${kind}Acquire`, JSON.stringify([{ ...one, ...claim }]), false);
      return row?.['fence'] == null ? undefined : { owner, fence: BigInt(row['fence']) };
    },
    async release(kind, name, owner, result) {
      const key = kind === 'advisory' ? keys.of(name).lock : undefined;
      const one = { ord: 0, name, owner, key, result, error: result === 'failed' ? 'old trouble' : undefined };
      await ask(`${kind}Release`, JSON.stringify([one]), false, 'solorun');
    },
  };
}

const kinds = ['lease', 'advisory'] as const;
const providers: Record<(typeof kinds)[number], (schema: string, connectionString?: string) => LockProvider> = {
  lease: (schema, connectionString = stage.server.url) => postgresLease({ connectionString, schema }),
  advisory: (schema, connectionString = stage.server.url) =>
    postgresAdvisory({ connectionString, schema, settleMs: 0, onWarning: () => {} }),
};

describe.each(kinds)('a schema of version 1, with rows of %s', (kind) => {
  it('is brought up to date, and what stands in it goes on', async () => {
    const schema = `old_${kind}`;
    const old = await oldOn(schema);
    await old.ask('schema');
    const [done, at] = ['done', new Date(Date.now() - 60_000)];
    const run = await old.acquire(kind, done, at);
    await old.release(kind, done, run!.owner, 'done');
    const broken = await old.acquire(kind, 'broken', at);
    await old.release(kind, 'broken', broken!.owner, 'failed');
    const held = await old.acquire(kind, 'held');

    const provider = stage.open(providers[kind](schema));
    expect(await provider.tryAcquire(asked(done, { occurrence: { at, attempts: 9 } }), never)).toMatchObject({ reason: 'done' });
    const record = await provider.inspect(done);
    expect(record).toMatchObject({ lastOutcome: 'done', lastRunBy: { host: 'old.host' }, occurrence: { state: 'done' } });
    expect(record!.lastFinishedAt).toEqual(record!.lastSuccessAt);
    expect(record!.knownSince).toBeInstanceOf(Date);
    expect(await provider.inspect('broken')).toMatchObject({ lastOutcome: 'failed', lastError: 'old trouble' });
    expect(await provider.inspect('held')).toMatchObject({ held: true, fence: held!.fence, lastOutcome: undefined });
    expect(await provider.runs(done, 9)).toEqual([]);
    const next = await acquired(provider, 'broken', { occurrence: { at, attempts: 2 } });
    expect(next.fence).toBeGreaterThan(broken!.fence);
    expect(next.attempt).toBe(2);
    await provider.release(next, { result: 'done' }, never);
    expect(await provider.runs('broken', 9)).toMatchObject([{ attempt: 2, outcome: 'done' }]);
    expect(await stage.sql(`SELECT max(version)::text AS version FROM ${schema}.schema_version`)).toEqual([{ version: '2' }]);
  });

  it('serves both versions at once: one holder, fences that grow, each occurrence once', { timeout: 30_000 }, async () => {
    const schema = `both_${kind}`;
    const first = await oldOn(schema);
    await first.ask('schema');
    const [old, other] = [await oldOn(schema), await oldOn(schema)];
    const fleet = [stage.open(providers[kind](schema)), stage.open(providers[kind](schema))];
    const name = 'shared';
    const start = Math.floor(Date.now() / 1_000) * 1_000 - 3_600_000;
    const ran: number[] = [];
    const fences: bigint[] = [];
    let holders = 0;
    const enter = (n: number, fence: bigint): void => {
      expect((holders += 1)).toBe(1);
      expect(fence).toBeGreaterThan(fences.at(-1) ?? 0n);
      fences.push(fence);
      ran.push(n);
      holders -= 1;
    };
    await Promise.all([
      ...[old, other].map(async (one) => {
        for (let n = 0; n < 40; n += 1) {
          const lease = await one.acquire(kind, name, new Date(start + n * 1_000));
          if (lease === undefined) continue;
          enter(n, lease.fence);
          await one.release(kind, name, lease.owner, 'done');
        }
      }),
      ...fleet.map(async (one) => {
        for (let n = 0; n < 40; n += 1) {
          const result = await one.tryAcquire(asked(name, { occurrence: { at: new Date(start + n * 1_000), attempts: 2 } }), never);
          if (!result.acquired) continue;
          enter(n, result.grant.fence);
          await one.release(result.grant, { result: 'done' }, never);
        }
      }),
    ]);
    expect(new Set(ran).size).toBe(ran.length);
    expect(ran.at(-1)).toBe(39);
    const kept = (await fleet[0]!.runs(name, 50)).map(({ fence }) => fence);
    expect(fences).toEqual(expect.arrayContaining(kept));
  });

  it('shows no run as the last one that the other version has gone past', async () => {
    const schema = `stale_${kind}`;
    const old = await oldOn(schema);
    await old.ask('schema');
    const provider = stage.open(providers[kind](schema));
    const start = Math.floor(Date.now() / 1_000) * 1_000 - 100_000;
    const at = (n: number): Date => new Date(start + n * 1_000);
    const claim = (n: number): object => ({ occurrence: { at: at(n), attempts: 1, nextDueAt: at(n + 1) } });
    const one = await acquired(provider, 'x', claim(1));
    await provider.release(one, { result: 'failed', error: 'new trouble' }, never);
    await stage.sql(`UPDATE ${schema}.job SET last_finished_at = last_finished_at - interval '1 hour'`);
    const two = await old.acquire(kind, 'x', at(2));
    await old.release(kind, 'x', two!.owner, 'done');
    const record = await provider.inspect('x');
    expect(record).toMatchObject({ lastOutcome: 'done', lastRunBy: { host: 'old.host' }, nextDueAt: undefined });
    expect(record!.lastFinishedAt).toEqual(record!.lastSuccessAt);
    const three = await acquired(provider, 'x', claim(3));
    await provider.release(three, { result: 'done' }, never);
    expect(await provider.inspect('x')).toMatchObject({ lastOutcome: 'done', lastRunBy: { host: 'test.host' }, nextDueAt: at(4) });
    const four = await old.acquire(kind, 'x', at(5));
    await old.release(kind, 'x', four!.owner, 'failed');
    expect(await provider.inspect('x')).toMatchObject({ lastOutcome: 'failed', lastError: 'old trouble', lastRunBy: undefined });
    // A run of the other version that was lost is written by the one that follows.
    await old.acquire(kind, 'x', at(6));
    if (kind === 'lease') await stage.sql(`UPDATE ${schema}.job SET expires_at = now()`);
    else await stage.sql(`SELECT pg_terminate_backend(backend, 5000) FROM ${schema}.job`);
    await acquired(provider, 'x', claim(7));
    expect((await provider.runs('x', 1))[0]).toMatchObject({ outcome: 'lost', holder: { host: 'old.host' }, occurrence: at(6) });
  });

  it('is refused, with the remedy, to a role that may not change it', async () => {
    const schema = `kept_${kind}`;
    const old = await oldOn(schema);
    await old.ask('schema');
    const user = `keeper_${kind}`;
    await stage.sql(`CREATE ROLE ${user} LOGIN; GRANT USAGE ON SCHEMA ${schema} TO ${user};
      GRANT USAGE, UPDATE ON SEQUENCE ${schema}.fence TO ${user}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    const provider = stage.open(providers[kind](schema, stage.server.urlFor({ user })));
    const error = await failureOf(provider.tryAcquire(asked('x', { occurrence: { at: new Date(0), attempts: 1 } }), never));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(
      /older than this version needs.*schemaSql\(\).*SELECT, INSERT and UPDATE on the tables \(and DELETE/,
    );
    // Once it has been brought up to date, and the new tables are granted.
    await stage.sql(`${schemaSql({ schema })} GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    const granted = stage.open(providers[kind](schema, stage.server.urlFor({ user })));
    await acquired(granted, 'x', { occurrence: { at: new Date(0), attempts: 1 } });
  });
});

describe('the update', () => {
  it('gives way to a guarded transaction, and nobody waits behind it', { timeout: 30_000 }, async () => {
    const old = await oldOn('busy');
    await old.ask('schema');
    const lease = await old.acquire('lease', 'long');
    const client = new pg.Client({ connectionString: stage.server.url });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query("BEGIN; SELECT 1 FROM busy.job WHERE name = 'long' FOR KEY SHARE");
    const provider = stage.open(providers.lease('busy'));
    const acquiring = acquired(provider, 'other');
    await until('it waits for the table', async () => {
      const rows = await stage.sql("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'");
      return rows.length > 0;
    });
    const renewal = JSON.stringify([{ ord: 0, name: 'long', owner: lease!.owner }]);
    // Far more than the update may keep others waiting, and less than it would wait by itself.
    const renewing = await oldOn('busy', '-c lock_timeout=3000');
    for (let n = 0; n < 20; n += 1) expect(await renewing.ask('leaseRenew', renewal)).toMatchObject([{ ours: 'yes' }]);
    await client.query('COMMIT');
    await acquiring;
    expect(
      await stage.sql("SELECT 1 FROM pg_attribute WHERE attrelid = 'busy.job'::regclass AND attname = 'keeps_history'"),
    ).toHaveLength(1);
  });

  it('is made once by many at the same moment, and locks nobody out when it is run again', async () => {
    const old = await oldOn('many');
    await old.ask('schema');
    const fleet = Array.from({ length: 8 }, (_, n) => stage.open(providers[kinds[n % 2]!]('many')));
    const results = await Promise.all(fleet.map(async (provider, n) => provider.tryAcquire(asked(`name ${n}`), never)));
    expect(results.every((result) => result.acquired)).toBe(true);
    const client = new pg.Client({ connectionString: stage.server.url });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query('BEGIN; SELECT 1 FROM many.job FOR KEY SHARE');
    await stage.sql(`SET lock_timeout = '1s'; ${schemaSql({ schema: 'many' })}`);
    await client.query('COMMIT');
  });
});
