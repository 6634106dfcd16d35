import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

const solo = createSolo({ provider: lockfile({ directory: './locks' }), leaseMs: 10_000, label: 'worker-3' });

await solo.run('weekly-report', async () => {
  const { holder, fence } = (await solo.inspect('weekly-report')) ?? {};
  console.log(`held by ${holder?.label} under fence ${fence}`);
});

const record = await solo.inspect('weekly-report');
console.log(record?.held ? 'still held' : 'free');

await solo.close();
