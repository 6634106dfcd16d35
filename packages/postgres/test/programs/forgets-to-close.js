// @ts-check
// Runs something on each provider, and leaves without a goodbye.
import { createSolo } from '@solorun/core';
import { postgresAdvisory, postgresLease } from '../../dist/index.js';

const [connectionString = ''] = process.argv.slice(2);
for (const open of [postgresAdvisory, postgresLease]) {
  const solo = createSolo({ provider: open({ connectionString }) });
  const result = await solo.run('once', () => 'value');
  if (result.status !== 'ran') throw new Error(result.status);
  await solo.acquire('kept', { waitMs: 0 });
}
