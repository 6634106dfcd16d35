import { createSolo, type Solo } from '@solorun/core';
import { guard, postgresAdvisory, postgresLease } from '@solorun/postgres';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { killAll, start } from './json-process.ts';
import { hasPostgres, kinds, nameOf, onPostgres } from './postgres.ts';
import { now } from './programs/say.js';
import { program } from './stories.ts';

describe.runIf(hasPostgres)('the guard of a transaction, whose holder is stopped past its lease, followed, and continued', () => {
  const stage = onPostgres({ max_connections: 200 });
  const leaseMs = 1_000;
  const [batches, locks] = [4, 25];
  let solo: Solo;
  let pool: pg.Pool;
  beforeEach(async () => {
    await stage.sql('CREATE TABLE effect (name text, fence numeric)');
    pool = new pg.Pool({ connectionString: stage.server.url, max: 10 }).on('error', () => {});
  });
  afterEach(async () => {
    killAll();
    await Promise.all([solo.close(), pool.end()]);
    await stage.sql('DROP TABLE effect');
  });

  /** Takes over, and does the same work. Every other one is done when the one before it wakes, and the others hold the lock still. */
  async function succeed(name: string, n: number): Promise<number> {
    const lease = await solo.acquire(name, { waitMs: 30_000, leaseMs: 30_000 });
    const at = now();
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await guard(lease, client);
      await client.query('INSERT INTO effect VALUES ($1, $2)', [name, String(lease.fence)]);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    if (n % 2 === 1) await lease.release();
    return at;
  }

  for (const kind of kinds) {
    it(
      `lets none of its writes be seen, 100 times at its end and 100 at its beginning (${nameOf[kind]})`,
      { timeout: 120_000 },
      async () => {
        const connectionString = stage.server.url;
        solo = createSolo({
          provider: kind === 'advisory' ? postgresAdvisory({ connectionString }) : postgresLease({ connectionString }),
        });
        for (let batch = 0; batch < batches; batch += 1) {
          const holders = (['last', 'first'] as const).map((when) => {
            const prefix = `${kind}-${batch}-${when}`;
            const args = [stage.store(kind), connectionString, prefix, String(locks), String(leaseMs), when];
            return {
              when,
              process: start(program('guard'), args),
              names: Array.from({ length: locks }, (_, n) => `${prefix}-${n}`),
            };
          });
          await Promise.all(
            holders.map(async ({ when, process, names }) => {
              await process.says('written');
              process.kill('SIGSTOP');
              const stopped = now();
              const took = (await Promise.all(names.map(succeed))).map((at) => at - stopped);
              // Also a guarded transaction keeps nobody waiting for longer.
              expect(Math.max(...took), when).toBeLessThan(leaseMs + 1_000);
              process.kill('SIGCONT');
              process.write('go on');
              expect(await process.ended).toBe(0);
              for (const name of names) {
                const { refused, ended } = await process.says('ended', { name });
                expect(refused, name).toBe(when === 'last' ? 'LeaseLostError' : undefined);
                expect(ended, name).not.toBe('COMMIT');
              }
            }),
          );
        }
        // The rows of the successors, and no other.
        const rows = await stage.sql(
          'SELECT e.name, e.fence::text = j.fence::text AS newest FROM effect e JOIN solorun.job j ON j.kind = $1 AND j.name = e.name',
          [kind],
        );
        expect(rows).toHaveLength(batches * 2 * locks);
        expect(rows.filter(({ newest }) => newest !== true)).toEqual([]);
      },
    );
  }
});
