// @ts-check
// Asks a Postgres the same thing again and again, and prints the answers: the address it is seen with.

import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';

const client = new Client({ connectionString: process.argv[2] });
await client.connect();
for (;;) {
  const { rows } = await client.query('SELECT host(inet_client_addr()) AS address');
  process.stdout.write(`${rows[0].address}\n`);
  await sleep(20);
}
