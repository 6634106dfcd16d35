// @ts-check
// Each replica counts in a table: reads, sleeps, writes one more, in a transaction that `guard` ties to the lease. Without the lease, two
// that read the same number would lose an update.

import { setTimeout as sleep } from 'node:timers/promises';
import { guard } from '@solorun/postgres';
import pg from 'pg';
import { resultOf } from '../result.js';

/** @import { Stage } from '../workloads.js' */

/** @param {Stage} stage */
export async function guarded({ solo, orders, note, handler }) {
  const { names, tickMs, database } = orders;
  const stopping = new AbortController();
  let count = 0;

  /** @param {string} name */
  const work = async (name) => {
    while (!stopping.signal.aborted) {
      const id = String((count += 1));
      note({ kind: 'asked', id, name });
      const running = solo.run(name, (context) => handler(id, name, context, () => countUp(id, name, context)), {
        onBusy: 'wait',
        waitMs: 10_000,
      });
      note({ kind: 'answered', id, name, result: await resultOf(running) });
      await sleep(tickMs);
    }
  };

  /** @param {string} id @param {string} name @param {import('@solorun/core').RunContext} context */
  const countUp = async (id, name, context) => {
    const client = new pg.Client({ connectionString: database, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
    client.on('error', () => {});
    // Before COMMIT is sent nothing is counted; afterwards only its answer tells.
    let result = 'refused';
    /** @type {number | undefined} */
    let value;
    try {
      await client.connect();
      await client.query('BEGIN');
      await guard(context, client);
      const { rows } = await client.query('SELECT value FROM counter WHERE name = $1', [name]);
      await sleep(20);
      value = rows[0].value + 1;
      await client.query('UPDATE counter SET value = $2 WHERE name = $1', [name, value]);
      result = 'unknown';
      const { command } = await client.query('COMMIT');
      result = command === 'COMMIT' ? 'committed' : 'refused';
    } finally {
      note({ kind: 'counted', id, name, result, ...(value === undefined ? {} : { value }) });
      await client.end().catch(() => {});
    }
  };

  const works = names.map(work);
  return async () => {
    stopping.abort();
    const closing = solo.close();
    await Promise.all(works);
    await closing;
  };
}
