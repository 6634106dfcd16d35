import { createSolo } from '@solorun/core';
import { postgresAdvisory } from '@solorun/postgres';

// postgres://user:password@host:5432/database
const provider = postgresAdvisory({ connectionString: process.env['DATABASE_URL'] });
const solo = createSolo({ provider, leaseMs: 30_000 });

const result = await solo.run('nightly-report', async ({ signal, fence }) => {
  await makeReport(signal);
  return `made under fence ${fence}`;
});
console.log(result.status === 'ran' ? result.value : `not here: ${result.reason}`);

await solo.close();

async function makeReport(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
}
