// @ts-check
// A periodic backup of the database. Start as many replicas as you like: each tick is backed up once.

import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createSolo } from '@solorun/core';
import { schedule } from '@solorun/node-cron';
import { postgresAdvisory } from '@solorun/postgres';
import pg from 'pg';

const connectionString = process.env['DATABASE_URL'];
/** The same for all replicas: a volume that they share. */
const directory = process.env['BACKUP_DIRECTORY'] ?? './backups';
const KEEP = 5;

const solo = createSolo({ provider: postgresAdvisory({ connectionString }), leaseMs: 30_000 });

const task = schedule(solo, process.env['BACKUP_SCHEDULE'] ?? '0 3 * * *', backup, {
  name: 'database-backup',
  timezone: 'Etc/UTC',
  onBusy: 'standby', // the other replicas wait until the tick is done
  attempts: 2, // and one of them takes it over if its runner dies or fails
});
task.on('execution:failed', ({ execution }) => console.error(`failed: ${String(execution?.error)}`));
solo.on('missed', ({ occurrence }) => console.error(`no backup of ${occurrence.at.toISOString()}`));
console.log('scheduled');
// Asks a backup that runs to stop, and waits for it; another replica takes it over.
process.once('SIGTERM', () => void solo.close());

/** @param {import('@solorun/node-cron').ScheduleContext} run */
async function backup({ date, attempt, fence, signal, checkpoint }) {
  const name = `${date.toISOString().replaceAll(':', '-')}.jsonl`;
  const partial = join(directory, `${name}.${fence}.partial`);
  console.log(`backing up ${name}, attempt ${attempt}, fence ${fence}`);
  await mkdir(directory, { recursive: true });
  // What dead runners left. One that was merely frozen finds, when it wakes, that it has nothing left to publish.
  for (const left of await readdir(directory)) {
    if (left.endsWith('.partial') && BigInt(left.split('.').at(-2) ?? 0) < fence) await rm(join(directory, left), { force: true });
  }
  // Its runner died just after that.
  if (existsSync(join(directory, name))) return;

  await pipeline(rows, createWriteStream(partial, { flush: true }), { signal });
  checkpoint();
  await rename(partial, join(directory, name));
  console.log(`made ${name}`);
  const made = (await readdir(directory)).filter((file) => file.endsWith('.jsonl')).sort();
  for (const old of made.slice(0, -KEEP)) await rm(join(directory, old), { force: true });
}

/** All rows of all tables, as of one moment, a line of JSON each: {"table":"public.customer","row":{…}} */
async function* rows() {
  const client = new pg.Client({ connectionString });
  client.on('error', () => {}); // a connection that ends is told by its next query
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const tables = await client.query(
      "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename",
    );
    for (const { name } of tables.rows) {
      const line = `json_build_object('table', ${pg.escapeLiteral(name)}::text, 'row', t)::text || E'\\n'`;
      await client.query(`DECLARE dump CURSOR FOR SELECT ${line} AS line FROM ${name} t`);
      for (;;) {
        const { rows: some } = await client.query('FETCH 1000 FROM dump');
        if (some.length === 0) break;
        yield some.map((row) => row.line).join('');
      }
      await client.query('CLOSE dump');
    }
  } finally {
    await client.end();
  }
}
