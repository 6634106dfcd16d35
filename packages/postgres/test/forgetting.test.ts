import { UnsupportedError, type LockProvider } from '@solorun/core';
import { startProxy } from '@solorun/servers/network';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard, postgresAdvisory, postgresLease, schemaSql } from '../src/index.ts';
import { statementsFor } from '../src/rows/statements.ts';
import { forgetSql } from '../src/server/forget-statement.ts';
import { placeOf, type Kind } from '../src/server/schema.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';

const stage = onPostgres();

type Open = (schema: string, connectionString?: string) => LockProvider;
const providers: Record<string, Open> = {
  lease: (schema, connectionString = stage.server.url) => postgresLease({ connectionString, schema }),
  advisory: (schema, connectionString = stage.server.url) =>
    postgresAdvisory({ connectionString, schema, settleMs: 0, onWarning: () => {} }),
};
const now = { untouchedForMs: 0 };
const done = { result: 'done' } as const;

async function connected(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stage.server.url });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

async function ran(provider: LockProvider, name: string, at?: Date): Promise<bigint> {
  const grant = await acquired(provider, name, at === undefined ? { history: true } : { occurrence: { at, attempts: 1 } });
  await provider.release(grant, done, never);
  return grant.fence;
}

describe.each(Object.keys(providers))('forgetting names of %s', (kind) => {
  const open = (schema: string, connectionString?: string): LockProvider => stage.open(providers[kind]!(schema, connectionString));

  it('gives greater fences afterwards, and keeps one holder, whoever acquires meanwhile', { timeout: 60_000 }, async () => {
    const schema = `race_${kind}`;
    const fleet = Array.from({ length: 4 }, () => open(schema));
    const start = Math.floor(Date.now() / 1_000) * 1_000 - 36_000_000;
    let [holders, last, runs, forgotten, at] = [0, 0n, 0, 0, start];
    const over = new AbortController();
    const use = async (provider: LockProvider, index: number): Promise<void> => {
      for (let mine = 0; mine < 60;) {
        // Claims and plain runs; those that are kept, and those that are not.
        const more = [{ occurrence: { at: new Date((at += 1)), attempts: 1 } }, { history: true }, {}][(mine + index) % 3]!;
        const result = await provider.tryAcquire(asked('x', more), never);
        if (!result.acquired) continue;
        expect((holders += 1)).toBe(1);
        expect(result.grant.fence).toBeGreaterThan(last);
        last = result.grant.fence;
        runs += 1;
        mine += 1;
        await new Promise(setImmediate);
        holders -= 1;
        expect(await provider.release(result.grant, done, never)).toBe(true);
      }
    };
    const forget = async (provider: LockProvider): Promise<void> => {
      while (!over.signal.aborted) if (await provider.forget('x', now, never)) forgotten += 1;
    };
    const forgetting = [open(schema), open(schema)].map(forget);
    await Promise.all(fleet.map(use)).finally(() => over.abort());
    await Promise.all(forgetting);
    expect(runs).toBe(240);
    expect(forgotten).toBeGreaterThan(5);
    // No run outlives its name.
    for (const provider of fleet) await provider.inspect('x');
    await fleet[0]!.forget('x', now, never);
    expect(
      await stage.sql(`SELECT * FROM ${schema}.run r WHERE NOT EXISTS (SELECT FROM ${schema}.job j WHERE j.name = r.name)`),
    ).toEqual([]);
  });

  it('begins other names above what was forgotten, too', async () => {
    const provider = open(`above_${kind}`);
    let highest = 0n;
    for (let n = 0; n < 5; n += 1) highest = await ran(provider, 'old');
    expect(await provider.forget('old', now, never)).toBe(true);
    expect(await ran(open(`above_${kind}`), 'new')).toBeGreaterThan(highest);
    expect(await ran(provider, 'old')).toBeGreaterThan(highest);
  });

  it('asks for all that is to be forgotten in one turn with one statement, and each once', async () => {
    const schema = `turn_${kind}`;
    const proxy = await startProxy({ port: stage.server.port });
    onTestFinished(() => proxy.stop());
    const provider = open(schema, proxy.through(stage.server.url));
    const names = Array.from({ length: 64 }, (_, n) => `name ${n}`);
    for (const name of names) await ran(provider, name);
    const trips = proxy.roundTrips;
    const gone = await Promise.all([...names, names[0]!].map(async (name) => provider.forget(name, now, never)));
    expect(gone.filter(Boolean)).toHaveLength(64);
    expect(proxy.roundTrips - trips).toBe(1);
    expect(await stage.sql(`SELECT 1 FROM ${schema}.job UNION ALL SELECT 1 FROM ${schema}.run`)).toEqual([]);
  });

  it('needs the right to delete, which nothing else does', async () => {
    const [schema, user] = [`rights_${kind}`, `clerk_${kind}`];
    await stage.sql(`${schemaSql({ schema })} CREATE ROLE ${user} LOGIN; GRANT USAGE ON SCHEMA ${schema} TO ${user};
      GRANT USAGE, UPDATE ON SEQUENCE ${schema}.fence TO ${user}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    const provider = open(schema, stage.server.urlFor({ user }));
    const at = new Date(0);
    await ran(provider, 'x', at);
    await provider.pause('x', { forMs: 60_000, by: 'kim' }, never);
    expect(await provider.resume('x', never)).toBe(true);
    expect(await provider.reopen('x', never)).toMatchObject({ state: 'reopened' });
    expect(await provider.runs('x', 9)).toHaveLength(1);
    const error = await failureOf(provider.forget('x', now, never));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/DELETE.*GRANT DELETE/);
    await ran(provider, 'x', at);
    await stage.sql(`GRANT DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${user}`);
    expect(await provider.forget('x', now, never)).toBe(true);
  });

  it('takes pauses along that are over, and no others', async () => {
    const provider = open(`over_${kind}`);
    await provider.pause('over', { until: new Date(Date.now() - 1_000), by: 'kim' }, never);
    await provider.pause('resumed', { forMs: 60_000, by: 'kim' }, never);
    await provider.pause('in force', { forMs: 60_000, by: 'kim' }, never);
    await provider.resume('resumed', never);
    await provider.forget('none', now, never);
    expect(await stage.sql(`SELECT name FROM over_${kind}.pause`)).toEqual([{ name: 'in force' }]);
  });

  it('leaves a name alone that was used after the statement had begun', async () => {
    const schema = `ended_${kind}`;
    const provider = open(schema);
    const place = placeOf(kind as Kind, schema);
    await ran(provider, 'x');
    const [gate, forgetter] = await Promise.all([connected(), connected()]);
    await gate.query('SELECT pg_advisory_lock(42)');
    // Its snapshot is older than the gate, and it locks the row behind it.
    const text = forgetSql(place, 'NOT j.held').replace('SELECT a.* FROM', 'SELECT a.*, pg_advisory_lock(42)::text AS gate FROM');
    const forgetting = forgetter.query(text, [JSON.stringify([{ ord: 0, name: 'x', ms: 0 }])]);
    await until(
      'it has begun',
      async () => (await stage.sql('SELECT 1 FROM pg_locks WHERE NOT granted AND objid = 42')).length > 0,
    );
    await ran(provider, 'x');
    await gate.query('SELECT pg_advisory_unlock(42)');
    expect((await forgetting).rows).toMatchObject([{ gone: 'false' }]);
    expect(await provider.runs('x', 9)).toHaveLength(2);
  });

  it('leaves a row alone that another transaction has locked', async () => {
    const schema = `locked_${kind}`;
    const provider = open(schema);
    await ran(provider, 'x', new Date(0));
    const client = await connected();
    await client.query(`BEGIN; SELECT 1 FROM ${schema}.job FOR UPDATE`);
    expect(await provider.forget('x', now, never)).toBe(false);
    const error = await failureOf(provider.reopen('x', never));
    expect(error.message).toMatch(/cannot be opened again/);
    await client.query('COMMIT');
    expect(await provider.forget('x', now, never)).toBe(true);
  });
});

describe('the fences of what was forgotten', () => {
  it('of a lease row that came and went behind a snapshot are not handed out again', async () => {
    const schema = 'behind';
    const provider = stage.open(providers['lease']!(schema));
    await ran(provider, 'other');
    const [gate, late] = await Promise.all([connected(), connected()]);
    await gate.query('SELECT pg_advisory_lock(43)');
    const text = statementsFor(schema).acquire.replace(
      'FROM json_to_recordset',
      ', pg_advisory_lock(43)::text AS gate FROM json_to_recordset',
    );
    const one = { ord: 0, name: 'x', key: '1', owner: 'late', host: 'h', pid: 1, lease: 60_000 };
    const making = late.query<{ fence: string }>(text, [JSON.stringify([one]), false]);
    await until(
      'it has begun',
      async () => (await stage.sql('SELECT 1 FROM pg_locks WHERE NOT granted AND objid = 43')).length > 0,
    );
    let highest = 0n;
    for (let n = 0; n < 5; n += 1) highest = await ran(provider, 'x');
    expect(await provider.forget('x', now, never)).toBe(true);
    await gate.query('SELECT pg_advisory_unlock(43)');
    expect(BigInt((await making).rows[0]!.fence)).toBeGreaterThan(highest);
  });

  it('of a lease row with a guarded transaction under way are not forgotten', async () => {
    const provider = stage.open(providers['lease']!('guarded'));
    const grant = await acquired(provider, 'x');
    const client = await connected();
    await client.query('BEGIN');
    await guard({ grant }, client);
    await provider.release(grant, done, never);
    expect(await provider.forget('x', now, never)).toBe(false);
    await client.query('COMMIT');
    expect(await provider.forget('x', now, never)).toBe(true);
  });

  it('of session locks are remembered where the sequence is not, as after a replication that leaves it out', async () => {
    const schema = 'replicated';
    const provider = stage.open(providers['advisory']!(schema));
    for (let n = 0; n < 9; n += 1) await ran(provider, 'x');
    const fence = await ran(provider, 'x');
    expect(await provider.forget('x', now, never)).toBe(true);
    await stage.sql(`ALTER SEQUENCE ${schema}.fence RESTART; DELETE FROM ${schema}.uptime`);
    expect(await ran(stage.open(providers['advisory']!(schema)), 'x')).toBeGreaterThan(fence);
  });

  it('of session locks that are ahead of the sequence keep their row until the sequence has leapt', async () => {
    const schema = 'ahead';
    const provider = stage.open(providers['advisory']!(schema));
    await ran(provider, 'x');
    await stage.sql(`UPDATE ${schema}.job SET fence = 1000000`);
    expect(await provider.forget('x', now, never)).toBe(false);
    const other = stage.open(providers['advisory']!(schema));
    await ran(other, 'y');
    expect(await other.forget('x', now, never)).toBe(true);
    expect(await ran(other, 'x')).toBeGreaterThan(1_000_000n);
  });
});
