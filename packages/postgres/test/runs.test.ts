import type { LockProvider } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const openAdvisory = (): LockProvider => stage.open(postgresAdvisory({ connectionString: stage.server.url }));
const done = { result: 'done' } as const;
const claim = (at: number): object => ({ occurrence: { at: new Date(at), attempts: 2 } });

/** Ends the session that holds a lock, as the end of its process does. */
async function endSessionOf(name: string): Promise<void> {
  await until('the record tells of its session', async () => {
    const rows = await stage.sql("SELECT 1 FROM solorun.job WHERE kind = 'advisory' AND name = $1 AND held", [name]);
    return rows.length > 0;
  });
  await stage.sql("SELECT pg_terminate_backend(backend, 5000) FROM solorun.job WHERE kind = 'advisory' AND name = $1", [name]);
}

describe('a session lock whose session has ended', () => {
  it('shows its run as lost before anybody follows, and afterwards', async () => {
    const [holder, other] = [openAdvisory(), openAdvisory()];
    await holder.release(await acquired(holder, 'plain'), done, never);
    const before = await other.inspect('plain');
    await until('its end is written', async () => (await other.inspect('plain'))?.lastOutcome === 'done');
    const grant = await acquired(holder, 'plain');
    await endSessionOf('plain');
    const lost = { lastOutcome: 'lost', lastFinishedAt: undefined, lastRunBy: { host: 'test.host', pid: 4711 } };
    expect(await other.inspect('plain')).toMatchObject({ held: false, fence: grant.fence, ...lost });
    const next = await acquired(other, 'plain');
    expect(await other.inspect('plain')).toMatchObject({ held: true, fence: next.fence, ...lost });
    expect(await other.runs('plain', 9)).toEqual([]);
    await other.release(next, done, never);
    expect(await other.inspect('plain')).toMatchObject({ lastOutcome: 'done', knownSince: before?.knownSince });
  });

  it('is not taken for lost while its session only has yet to write its end', async () => {
    const [holder, other] = [openAdvisory(), openAdvisory()];
    const grant = await acquired(holder, 'unwritten');
    await until('it is written', async () => (await other.inspect('unwritten'))?.held === true);
    const client = new pg.Client({ connectionString: stage.server.url });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query("BEGIN; SELECT 1 FROM solorun.job WHERE name = 'unwritten' FOR UPDATE");
    await holder.release(grant, done, never);
    expect(await other.inspect('unwritten')).toMatchObject({ held: false, lastOutcome: undefined });
    await acquired(other, 'unwritten');
    await client.query('COMMIT');
    await until('both are written', async () => {
      const record = await other.inspect('unwritten');
      expect(record?.lastOutcome).not.toBe('lost');
      return record?.held === true && record.lastOutcome === 'done';
    });
  });

  it.each([
    ['a claim', claim(2_000)],
    ['a plain run', {}],
    ['a plain run that is kept', { history: true }],
  ])('has its claim among the runs, before and after %s', async (what, follower) => {
    const [holder, other] = [openAdvisory(), openAdvisory()];
    const name = `claimed, then ${what}`;
    const grant = await acquired(holder, name, claim(1_000));
    await endSessionOf(name);
    const lost = { fence: grant.fence, outcome: 'lost', attempt: 1, occurrence: new Date(1_000), finishedAt: undefined };
    expect(await other.runs(name, 9)).toMatchObject([lost]);
    const next = await acquired(other, name, follower);
    await other.inspect(name);
    expect(await other.runs(name, 9)).toMatchObject([lost]);
    expect((await other.inspect(name))?.lastOutcome).toBe('lost');
    await other.release(next, done, never);
    expect((await other.runs(name, 9)).at(-1)).toMatchObject(lost);
  });

  it('is over by a second chance, whatever its holder says later', async () => {
    const [holder, other] = [openAdvisory(), openAdvisory()];
    const grant = await acquired(holder, 'reopened', claim(1_000));
    await endSessionOf('reopened');
    expect(await other.reopen('reopened', never)).toMatchObject({ state: 'reopened', attempt: 1 });
    await holder.release(grant, done, never);
    expect((await acquired(other, 'reopened', claim(1_000))).attempt).toBe(2);
    expect(await other.runs('reopened', 9)).toMatchObject([{ outcome: 'lost' }]);
  });
});

describe('a lease that has ended', () => {
  it('is over by a second chance, whatever its holder says later', async () => {
    const options = { connectionString: stage.server.url };
    const [holder, other] = [stage.open(postgresLease(options)), stage.open(postgresLease(options))];
    const grant = await acquired(holder, 'reopened', { ...claim(1_000), leaseMs: 100 });
    await until('it ends', async () => (await other.inspect('reopened'))?.held === false);
    expect(await other.inspect('reopened')).toMatchObject({ lastOutcome: 'lost', lastFinishedAt: expect.any(Date) as Date });
    expect(await other.runs('reopened', 9)).toMatchObject([{ fence: grant.fence, outcome: 'lost' }]);
    expect(await other.reopen('reopened', never)).toMatchObject({ state: 'reopened' });
    await holder.release(grant, done, never);
    expect(await other.inspect('reopened')).toMatchObject({ occurrence: { state: 'reopened' } });
    expect((await acquired(other, 'reopened', claim(1_000))).attempt).toBe(2);
    expect(await other.runs('reopened', 9)).toMatchObject([{ outcome: 'lost' }]);
  });

  it('has a plain run that is kept among the runs, and its release by an operator too', async () => {
    const options = { connectionString: stage.server.url };
    const [holder, other] = [stage.open(postgresLease(options)), stage.open(postgresLease(options))];
    const lost = await acquired(holder, 'kept', { history: true, leaseMs: 100 });
    await until('it ends', async () => (await other.inspect('kept'))?.held === false);
    const second = await acquired(other, 'kept');
    expect(await other.runs('kept', 9)).toMatchObject([{ fence: lost.fence, outcome: 'lost' }]);
    await other.release(second, done, never);
    const third = await acquired(other, 'kept', { history: true });
    // By what the record tells, in a process that knows nothing of the grant.
    await holder.release(
      { name: 'kept', owner: third.owner, fence: third.fence, attempt: 1 },
      { result: 'failed', error: 'no' },
      never,
    );
    expect(await other.runs('kept', 9)).toMatchObject([
      { fence: third.fence, outcome: 'failed', error: 'no' },
      { fence: lost.fence, outcome: 'lost' },
    ]);
    expect(await other.tryAcquire(asked('kept'), never)).toMatchObject({ acquired: true });
  });
});
