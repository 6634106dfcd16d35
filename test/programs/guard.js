// @ts-check
// Holds `count` locks, each with a transaction that writes one row under its fence and does not end before it is told to on stdin: a
// pause there finds it in the middle. The transaction is guarded at its beginning (`first`) or at its end (`last`).
import { once } from 'node:events';
import { createSolo } from '@solorun/core';
import { guard } from '@solorun/postgres';
import pg from 'pg';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', connectionString = '', prefix = '', count = '', leaseMs = '', when = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: Number(leaseMs) });

const names = Array.from({ length: Number(count) }, (_, n) => `${prefix}-${n}`);
const works = await Promise.all(
  names.map(async (name) => {
    const lease = await solo.acquire(name, { waitMs: 30_000 });
    const client = new pg.Client({ connectionString });
    // The server ends a guarded transaction that stands still for too long.
    client.on('error', () => {});
    await client.connect();
    await client.query('BEGIN');
    if (when === 'first') await guard(lease, client);
    await client.query('INSERT INTO effect VALUES ($1, $2)', [name, String(lease.fence)]);
    return { name, lease, client };
  }),
);
say({ written: works.length });
await once(process.stdin, 'data');
for (const { name, lease, client } of works) {
  let refused;
  try {
    if (when === 'last') await guard(lease, client);
  } catch (error) {
    refused = /** @type {Error} */ (error).name;
  }
  // Also one who does not listen to the guard.
  const ended = await client.query('COMMIT').then(
    ({ command }) => command,
    (/** @type {unknown} */ error) => String(error),
  );
  say({ name, refused, ended });
  await client.end().catch(() => {});
}
await solo.close();
process.stdin.destroy();
