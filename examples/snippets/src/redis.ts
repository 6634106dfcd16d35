import { createSolo } from '@solorun/core';
import { redis } from '@solorun/redis';

// redis://user:password@host:6379/0, rediss:// for TLS
const solo = createSolo({ provider: redis({ url: process.env['REDIS_URL'] }), leaseMs: 30_000 });

const result = await solo.run('nightly-report', async ({ signal, fence }) => {
  await makeReport(signal);
  return `made under fence ${fence}`;
});
console.log(result.status === 'ran' ? result.value : `not here: ${result.reason}`);

await solo.close();

async function makeReport(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
}
