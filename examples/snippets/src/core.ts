import { createSolo, intervalOccurrence } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

const solo = createSolo({ provider: lockfile({ directory: './locks' }) });
const midnight = intervalOccurrence(24 * 60 * 60 * 1000); // the last one, in UTC

const result = await solo.run('daily-report', ({ fence }) => `sent under fence ${fence}`, { occurrence: midnight });

console.log(result.status === 'ran' ? result.value : `skipped: ${result.reason}`);
