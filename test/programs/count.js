// @ts-check
// Counts in a plain file, under a lock: read, sleep, write. Goes on until this worker has counted `times` times in all.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', file = '', worker = '', times = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), label: worker, leaseMs: 10_000 });

/** @returns {{ count: number, fence: string, workers: Record<string, number> }} */
const read = () => JSON.parse(readFileSync(file, 'utf8'));

// Also what one before it had counted, which was killed.
let done = read().workers[worker] ?? 0;
while (done < Number(times)) {
  await solo.run(
    'count',
    async ({ fence, checkpoint }) => {
      const before = read();
      await sleep(1);
      checkpoint();
      done = (before.workers[worker] ?? 0) + 1;
      const workers = { ...before.workers, [worker]: done };
      // Whole or not at all, so that a kill in the middle is no lost update of the file system's.
      writeFileSync(`${file}.${worker}`, JSON.stringify({ count: before.count + 1, fence: String(fence), workers }));
      renameSync(`${file}.${worker}`, file);
      say({ count: before.count + 1, fence: String(fence), before: before.fence });
    },
    { onBusy: 'wait', waitMs: 120_000 },
  );
}
await solo.close();
