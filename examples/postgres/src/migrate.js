// @ts-check
// Migrations at start-up. Every replica does this before it serves: one of them migrates, the others wait for it and go on.

import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createSolo } from '@solorun/core';
import { guard, postgresAdvisory } from '@solorun/postgres';
import pg from 'pg';

const connectionString = process.env['DATABASE_URL'];
const directory = new URL('migrations/', import.meta.url);

const solo = createSolo({ provider: postgresAdvisory({ connectionString }), leaseMs: 10_000 });
solo.on('busy', ({ holder }) =>
  console.log(`waiting for ${holder ? `process ${holder.pid} on ${holder.host}` : 'another replica'}`),
);

// Longer than all migrations together take. Should it be over, this throws, and the program ends without having served.
await solo.run('migrations', migrate, { onBusy: 'wait', waitMs: 5 * 60_000 });
await solo.close();
serve();

/** What a migration tool does: applies what its table does not name yet. @param {import('@solorun/core').RunContext} run */
async function migrate(run) {
  const client = new pg.Client({ connectionString });
  client.on('error', () => {}); // a connection that ends is told by its next query
  await client.connect();
  try {
    await client.query(
      'CREATE TABLE IF NOT EXISTS migration (id serial PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
    );
    const applied = (await client.query('SELECT name FROM migration')).rows.map(({ name }) => name);
    const files = (await readdir(directory)).filter((name) => name.endsWith('.sql') && !applied.includes(name)).sort();
    for (const name of files) {
      console.log(`applying ${name} under fence ${run.fence}`);
      await client.query('BEGIN');
      // Whoever takes over begins when this transaction is over, also if its statement still runs on the server after we died.
      await guard(run, client);
      await client.query(await readFile(new URL(name, directory), 'utf8'));
      await client.query('INSERT INTO migration (name) VALUES ($1)', [name]);
      await client.query('COMMIT');
      console.log(`applied ${name}`);
    }
  } finally {
    await client.end(); // what was not committed is rolled back
  }
}

function serve() {
  const pool = new pg.Pool({ connectionString });
  pool.on('error', () => {});
  const server = createServer((_request, response) => {
    pool.query('SELECT count(*)::int AS invoices, sum(cents)::int AS cents FROM invoice').then(
      ({ rows }) => response.end(JSON.stringify(rows[0])),
      (/** @type {unknown} */ error) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(Number(process.env['PORT'] ?? 3000), () => {
    console.log(`serving on port ${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`);
  });
}
