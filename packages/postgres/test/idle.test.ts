import { createSolo } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const sessions = async (): Promise<number> =>
  (await stage.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'solorun%'")).length;

describe('a session that holds nothing and is asked for nothing', () => {
  it('is let go, so that the server hears nothing any more, and the next try opens another one', async () => {
    const provider = postgresAdvisory({ connectionString: stage.server.url, idleMs: 1_000 });
    const solo = createSolo({ provider, leaseMs: 2_000 });
    onTestFinished(() => solo.close());
    const heard: string[] = [];
    for (const event of ['lost', 'unconfirmed'] as const) solo.on(event, () => heard.push(event));
    const first = await solo.run('x', async ({ fence }) => {
      expect(await sessions()).toBe(1);
      return fence;
    });
    await until('it is gone', async () => (await sessions()) === 0);
    expect(heard).toEqual([]);
    // What was done before stands in the table, and the fence goes on.
    const [row] = await stage.sql("SELECT held::text, last_success_at FROM solorun.job WHERE name = 'x'");
    expect(row).toMatchObject({ held: 'false', last_success_at: expect.anything() as unknown });
    const second = await solo.run('x', ({ fence }) => fence);
    expect(first.status === 'ran' && second.status === 'ran' && second.value > first.value).toBe(true);
  });

  it('goes alone: one that holds a lock stays, and so do those who wait', async () => {
    const provider = stage.open(postgresAdvisory({ connectionString: stage.server.url, idleMs: 1_000, waitSessions: 0 }));
    const other = stage.open(postgresAdvisory({ connectionString: stage.server.url }));
    const kept = await acquired(provider, 'kept', { leaseMs: 30_000 });
    const taken = await acquired(other, 'taken');
    await provider.release(await acquired(provider, 'brief', { leaseMs: 20_000 }), { result: 'done' }, never);
    let woken = false;
    const waiting = provider.untilFree!(asked('taken', { leaseMs: 30_000 }), never).then(() => (woken = true));
    expect(await sessions()).toBe(3);
    await until('one is gone', async () => (await sessions()) === 2);
    expect([kept.lost?.aborted, woken]).toEqual([false, false]);
    await other.release(taken, { result: 'done' }, never);
    expect(await waiting).toBe(true);
    expect(await provider.release(kept, { result: 'done' }, never)).toBe(true);
  });

  it('is let go too when it has waited in the queue of the server, and its place is free for another', async () => {
    const provider = stage.open(postgresAdvisory({ connectionString: stage.server.url, idleMs: 1_000 }));
    const other = stage.open(postgresAdvisory({ connectionString: stage.server.url }));
    for (const name of ['queue 1', 'queue 2']) {
      const grant = await acquired(other, name);
      const request = asked(name);
      const waiting = provider.untilFree!(request, never);
      await until('it stands in the queue', async () => (await stage.sql('SELECT 1 FROM pg_locks WHERE NOT granted')).length === 1);
      await other.release(grant, { result: 'done' }, never);
      await waiting;
      const result = await provider.tryAcquire(request, never);
      if (!result.acquired) throw new Error(result.reason);
      expect(await provider.release(result.grant, { result: 'done' }, never)).toBe(true);
      await until('only the other one is left', async () => (await sessions()) === 1);
    }
  });

  it('stays for as long as it is wanted to', () => {
    postgresAdvisory({ connectionString: stage.server.url, idleMs: Number.POSITIVE_INFINITY });
    for (const idleMs of [0, 999, 1_000.5, Number.NaN, -1])
      expect(() => postgresAdvisory({ connectionString: stage.server.url, idleMs })).toThrow(/idleMs is a whole number from 1000/);
  });
});
