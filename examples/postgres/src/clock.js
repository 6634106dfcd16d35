// @ts-check
// A clock process: enqueues a row each second. Start one, or several by accident: one of them leads, the others stand by.

import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { postgresAdvisory } from '@solorun/postgres';
import pg from 'pg';

const connectionString = process.env['DATABASE_URL'];
const EVERY_MS = 1_000;
/** After an outage this much is made up for, and no more. */
const CATCH_UP_MS = 60_000;

const pool = new pg.Pool({ connectionString });
pool.on('error', () => {}); // a connection that ends is told by its next query
pool.on('connect', (client) => client.on('error', () => {}));

// A killed leader is followed at once; one that is paused or cut off when these 5 s are over.
const solo = createSolo({ provider: postgresAdvisory({ connectionString }), leaseMs: 5_000 });
solo.on('failed', ({ error }) => console.error(`failed: ${String(error)}`));

const election = solo.elect('clock', {
  onElected: lead,
  onDeposed: (reason) => console.log(`not the leader any more: ${String(reason)}`),
});
console.log('a candidate');
process.once('SIGTERM', () => void solo.close());
// Until SIGTERM. Rejects if there can never be a leader: a wrong option, a database that refuses us.
await election.finished;
await pool.end();

/** One term. @param {import('@solorun/core').Term} term */
async function lead({ fence, signal, checkpoint }) {
  console.log(`leading under fence ${fence}`);
  for (let at = await firstTick(); ; at += EVERY_MS) {
    await sleep(Math.max(0, at - Date.now()), undefined, { signal });
    // Ours still? After a pause this throws, before anything is done.
    checkpoint();
    // Whoever is paused right here, and goes on when a later leader has ticked, is refused by the table for its smaller fence.
    const { rowCount } = await pool.query(
      'INSERT INTO tick (at, fence) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM tick WHERE fence > $2)',
      [new Date(at), String(fence)],
    );
    if (rowCount === 0) throw new Error(`A later leader than fence ${fence} is at work.`);
    console.log(`tick ${new Date(at).toISOString().slice(11, 19)} under fence ${fence}`);
  }
}

/** The one after the last that anybody enqueued, so that none is missing where the leader changes. */
async function firstTick() {
  const { rows } = await pool.query('SELECT at FROM tick ORDER BY id DESC LIMIT 1');
  const now = Math.ceil(Date.now() / EVERY_MS) * EVERY_MS;
  return rows.length === 0 ? now : Math.max(rows[0].at.getTime() + EVERY_MS, now - CATCH_UP_MS);
}
