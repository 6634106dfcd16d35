import { setTimeout as delay } from 'node:timers/promises';
import { createSolo, type RunResult } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { schedule } from '@solorun/node-cron';

// Two replicas of one program, here in one process. Both fire every second.
const replicas = ['a', 'b'].map((label) => {
  const solo = createSolo({ provider: lockfile({ directory: './locks' }), label });
  const task = schedule(solo, '* * * * * *', ({ date }) => `the report of ${date.toISOString()}`, { name: 'report' });
  task.on('execution:finished', ({ execution }) => {
    const result = execution?.result as RunResult<string>;
    console.log(`${label}: ${result.status === 'ran' ? result.value : `skipped (${result.reason})`}`);
  });
  return solo;
});

await delay(2_500);
await Promise.all(replicas.map((solo) => solo.close()));
