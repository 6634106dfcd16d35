// @ts-check
// Runs one occurrence of `count` jobs at once, each until told on stdin to end; or stands by for as many that run elsewhere.
import { once } from 'node:events';
import { createSolo } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', count = '', at = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store) });
const told = once(process.stdin, 'data');

let running = 0;
let busy = 0;
solo.on('busy', () => {
  busy += 1;
  if (busy === Number(count)) say({ waiting: busy });
});
const results = await Promise.all(
  Array.from({ length: Number(count) }, (_, n) =>
    solo.run(
      `job-${n}`,
      async () => {
        running += 1;
        if (running === Number(count)) say({ running });
        await told;
      },
      { occurrence: new Date(at), onBusy: 'standby' },
    ),
  ),
);
const reasons = results.map((result) => (result.status === 'ran' ? 'ran' : result.reason));
say({ all: [...new Set(reasons)].join() });
await solo.close();
process.stdin.destroy();
