// @ts-check
// Replaces the members of an e-mail group by the addresses in a file: node upload.js <group> <file>
// Uploads for one group come one after the other, those for different groups at the same time.

import { readFile } from 'node:fs/promises';
import { createSolo } from '@solorun/core';
import { guard, postgresAdvisory } from '@solorun/postgres';
import pg from 'pg';

const connectionString = process.env['DATABASE_URL'];
const BATCH = 500;

const [group = '', file = ''] = process.argv.slice(2);
const addresses = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');

const solo = createSolo({ provider: postgresAdvisory({ connectionString }), leaseMs: 5_000 });
solo.on('busy', ({ holder }) =>
  console.log(`waiting for ${holder ? `process ${holder.pid} on ${holder.host}` : 'another upload'}`),
);
solo.on('lost', ({ error }) => console.error(String(error)));
try {
  // One lock for each group. They wait in the order in which they came, so the last list to come is the one that stays.
  await solo.run(`upload/${group}`, replaceMembers, { onBusy: 'wait', waitMs: 2 * 60_000 });
  console.log(`${group} has ${addresses.length} members`);
} catch (error) {
  console.error(`failed: ${String(error)}`);
  process.exitCode = 1;
} finally {
  await solo.close();
}

/** @param {import('@solorun/core').RunContext} run */
async function replaceMembers(run) {
  console.log(`replacing the members of ${group} under fence ${run.fence}`);
  const client = new pg.Client({ connectionString });
  client.on('error', () => {}); // a connection that ends is told by its next query
  await client.connect();
  try {
    await client.query('BEGIN');
    // From here on nobody else gets the lock before this transaction has ended, and if somebody has it already, this one cannot commit.
    // Should we be paused for longer than our lease, the server ends it. So there is nothing to check before each step.
    await guard(run, client);
    await client.query('DELETE FROM member WHERE group_name = $1', [group]);
    for (let from = 0; from < addresses.length; from += BATCH) {
      await client.query('INSERT INTO member (group_name, address) SELECT $1, unnest($2::text[])', [
        group,
        addresses.slice(from, from + BATCH),
      ]);
    }
    await client.query('COMMIT');
  } finally {
    await client.end(); // what was not committed is rolled back
  }
}
