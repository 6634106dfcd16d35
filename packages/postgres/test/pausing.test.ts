import { createSolo, UnsupportedError, type LockProvider } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';

const stage = onPostgres();

const providers: Record<string, () => LockProvider> = {
  'postgresAdvisory, in the queue of the server': () => postgresAdvisory({ connectionString: stage.server.url }),
  'postgresAdvisory, outside of it': () => postgresAdvisory({ connectionString: stage.server.url, waitSessions: 0 }),
  postgresLease: () => postgresLease({ connectionString: stage.server.url }),
};
const HOUR_MS = 3_600_000;
const done = { result: 'done' } as const;

describe.each(Object.keys(providers))('%s', (kind) => {
  const open = (): LockProvider => stage.open(providers[kind]!());

  it('tells a waiter of a pause when the name comes free, and keeps nothing of the lock', { timeout: 30_000 }, async () => {
    const name = `waited for ${kind}`;
    const holder = open();
    const grant = await acquired(holder, name);
    const solo = createSolo({ provider: open() });
    onTestFinished(() => solo.close());
    const waiting = solo.run(name, () => expect.unreachable(), { onBusy: 'wait', waitMs: 20_000 });
    await until('it waits', async () => {
      const queued = await stage.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
      const watched = await stage.sql('SELECT 1 FROM solorun.job WHERE name = $1 AND watched_until > now()', [name]);
      return queued.length + watched.length > 0;
    });
    await holder.pause(name, { forMs: HOUR_MS, by: 'kim' }, never);
    await holder.release(grant, done, never);
    expect(await waiting).toMatchObject({ status: 'skipped', reason: 'paused' });
    // By hand it can be had at once.
    const other = await acquired(open(), name, { ignorePause: true });
    expect(other.fence).toBeGreaterThan(grant.fence);
  });

  it('does not let a waiter sleep through the pause of a name that is free', async () => {
    const name = `free ${kind}`;
    const provider = open();
    await provider.pause(name, { forMs: HOUR_MS, by: 'kim' }, never);
    const request = asked(name);
    await provider.untilFree!(request, never);
    expect(await provider.tryAcquire(request, never)).toMatchObject({ reason: 'paused' });
    await provider.resume(name, never);
    await acquired(open(), name);
  });

  it('keeps those that are asked for in one turn apart, paused or not', async () => {
    const provider = open();
    const names = ['a', 'b,{}\'"\\', 'c', 'NULL'].map((name) => `${kind} ${name}`);
    for (const name of names.slice(1)) await provider.pause(name, { forMs: HOUR_MS, by: 'kim' }, never);
    const results = await Promise.all([
      ...names.map(async (name) => provider.tryAcquire(asked(name), never)),
      provider.tryAcquire(asked(names[3]!, { ignorePause: true }), never),
    ]);
    expect(results.map((result) => (result.acquired ? 'acquired' : result.reason))).toEqual([
      ...['acquired', 'paused', 'paused', 'paused', 'acquired'],
    ]);
  });

  it('keeps the words of a pause, but for what Postgres cannot keep', async () => {
    const provider = open();
    const name = `words ${kind}`;
    await provider.pause(name, { forMs: HOUR_MS, by: "o'\0hara", note: '😀\0"\\' }, never);
    expect(await provider.tryAcquire(asked(name), never)).toMatchObject({ reason: 'paused', by: "o'hara", note: '😀"\\' });
  });
});

describe('a role without tables', () => {
  it('is told what it lacks, and locks as before', async () => {
    await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC; CREATE ROLE lowly LOGIN');
    const connectionString = stage.server.urlFor({ user: 'lowly' });
    const provider = stage.open(postgresAdvisory({ connectionString, schema: 'forbidden', onWarning: () => {} }));
    const grant = await acquired(provider, 'x', { history: true, ignorePause: true });
    await provider.release(grant, done, never);
    for (const verb of [
      () => provider.pause('x', { forMs: 1_000, by: 'kim' }, never),
      () => provider.resume('x', never),
      () => provider.pauses('')[Symbol.asyncIterator]().next(),
      () => provider.runs('x', 1),
      () => provider.reopen('x', never),
      () => provider.forget('x', { untouchedForMs: 0 }, never),
    ]) {
      const error = await failureOf(verb());
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toMatch(/schemaSql\(\)/);
    }
  });
});
