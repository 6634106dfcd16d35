import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { start, type JsonProcess } from './json-process.ts';
import { hasPostgres, kinds, nameOf, onPostgres, until } from './postgres.ts';
import { expectSkewedReplicasToRunEachTickOnce, hasFaketime, program } from './stories.ts';

describe.runIf(hasPostgres)('a fleet on Postgres', () => {
  const stage = onPostgres();
  const at = new Date(Date.now() - 60_000).toISOString();
  const many = (store: string, count: number, occurrence = at): JsonProcess =>
    start(program('many'), [store, String(count), occurrence]);

  /** Session locks name theirs after their process. */
  async function sessionsOf(process: JsonProcess): Promise<number> {
    const [row] = await stage.sql('SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE $1', [
      `solorun ${process.pid}@%`,
    ]);
    return Number(row!['n']);
  }
  const sessions = async (): Promise<number> =>
    Number((await stage.sql(`SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'solorun%'`))[0]!['n']);

  it('holds 1,000 session locks in one process on one session', { timeout: 60_000 }, async () => {
    const holder = many(stage.store('advisory'), 1_000);
    await holder.says('running');
    expect(await sessionsOf(holder)).toBe(1);
    expect(await sessions()).toBe(1);
    const locks = `SELECT count(*) AS n, count(DISTINCT pid) AS on FROM pg_locks WHERE locktype = 'advisory' AND granted`;
    expect(await stage.sql(locks)).toEqual([{ n: '1000', on: '1' }]);
    holder.write('end');
    expect(await holder.says('all')).toMatchObject({ all: 'ran' });
    expect(await holder.ended).toBe(0);
  });

  for (const kind of kinds) {
    it(`stands by with 5 replicas for 200 tasks on at most two sessions each (${nameOf[kind]})`, { timeout: 90_000 }, async () => {
      const store = stage.store(kind);
      const occurrence = new Date(Date.parse(at) + 1_000).toISOString();
      const holder = many(store, 200, occurrence);
      await holder.says('running');
      const replicas = Array.from({ length: 5 }, () => many(store, 200, occurrence));
      await Promise.all(replicas.map((replica) => replica.says('waiting')));
      // Long enough for the waiters to look now and then, and for the leases to be renewed.
      for (let looks = 0; looks < 10; looks += 1) {
        // Lease rows do not name theirs.
        const each = kind === 'advisory' ? await Promise.all(replicas.map(sessionsOf)) : [];
        expect(Math.max(0, ...each)).toBeLessThanOrEqual(2);
        expect(await sessions()).toBeLessThanOrEqual(2 * (replicas.length + 1));
        await sleep(200);
      }
      holder.write('end');
      expect(await holder.says('all')).toMatchObject({ all: 'ran' });
      // None of them is left waiting.
      for (const replica of replicas) expect(await replica.says('all')).toMatchObject({ all: 'done' });
      for (const replica of [holder, ...replicas]) expect(await replica.ended).toBe(0);
      await until('their sessions are gone', async () => (await sessions()) === 0);
    });
  }

  it.runIf(hasFaketime)(
    'whose clocks are two minutes apart runs each of 60 ticks once, and none before its time (needs faketime)',
    { timeout: 150_000 },
    async () => {
      await Promise.all(kinds.map((kind) => expectSkewedReplicasToRunEachTickOnce(stage.store(kind), 60, 5)));
    },
  );
});
