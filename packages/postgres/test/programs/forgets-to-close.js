// @ts-check
// Runs something on each provider, and leaves without a goodbye.
import { createSolo } from '@solorun/core';
import { postgresAdvisory, postgresLease } from '../../dist/index.js';

const [connectionString = ''] = process.argv.slice(2);
// Its server may have been killed a moment ago.
for (const provider of [postgresAdvisory({ connectionString, settleMs: 0 }), postgresLease({ connectionString })]) {
  const solo = createSolo({ provider });
  const result = await solo.run('once', () => 'value');
  if (result.status !== 'ran') throw new Error(result.status);
  await solo.acquire('kept', { waitMs: 0 });
}
