// @ts-check
// Asks for one lock again and again, and says when each run was asked for, and when it began; or that the lock is paused.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { now, say } from './say.js';
import { openStore } from './store.js';

const [store = '', name = '', everyMs = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store) });
for (;;) {
  const asked = now();
  const result = await solo.run(name, () => say({ asked, began: now() }));
  if (result.status === 'skipped' && result.reason === 'paused') say({ asked, paused: result.paused?.note });
  await sleep(Number(everyMs) * (0.5 + Math.random()));
}
