import { createSolo } from '@solorun/core';
import { guard, postgresLease } from '@solorun/postgres';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] });
// The next query reports a connection that ended. Without a listener it would take the process down.
pool.on('error', () => {});
pool.on('connect', (client) => client.on('error', () => {}));

const solo = createSolo({ provider: postgresLease({ pool }) });

await solo.run('billing', async (run) => {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await guard(run, client); // from here on: it commits only if nobody else has acquired 'billing'
    await client.query("INSERT INTO invoice (customer) VALUES ('ada'), ('grace')");
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {}); // the connection may be gone
    throw error;
  } finally {
    client.release();
  }
});

await solo.close();
await pool.end();
