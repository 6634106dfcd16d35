import { createSolo, intervalOccurrence } from '@solorun/core';
import { redis } from '@solorun/redis';

// Two replicas of one program, here in one process.
const replicas = ['web-1', 'web-2'].map((label) =>
  createSolo({ provider: redis({ url: process.env['REDIS_URL'] }), leaseMs: 5_000, label }),
);
const midnight = intervalOccurrence(24 * 60 * 60 * 1000); // the last one, in UTC

const runs = replicas.map(async (solo) => {
  const options = { occurrence: midnight, onBusy: 'standby' } as const;
  const result = await solo.run('daily-report', ({ fence }) => `made under fence ${fence}`, options);
  return result.status === 'ran' ? result.value : `skipped (${result.reason})`;
});
console.log(await Promise.all(runs));

await Promise.all(replicas.map((solo) => solo.close()));
