import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

const solo = createSolo({ provider: lockfile({ directory: './locks' }), label: 'worker-3' });

const tick = async (): Promise<string> => {
  const run = await solo.run('nightly-backup', ({ fence }) => `backed up under fence ${fence}`);
  return run.status === 'ran' ? run.value : `skipped: ${run.reason} by ${run.holder?.label}`;
};
console.log(await Promise.all([tick(), tick()]));

await solo.close();
