// @ts-check
// A replica with schedules that fire each second, one for each way to catch up; says what it runs and what was missed.
import { once } from 'node:events';
import { createSolo } from '@solorun/core';
import { schedule } from '@solorun/node-cron';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store) });
solo.on('missed', ({ name, occurrence }) => say({ missed: name, slot: occurrence.at.getTime() }));

/** @type {Record<string, import('@solorun/node-cron').CatchUpPolicy>} */
const policies = { latest: 'latest', all: { all: true, max: 60 }, skip: 'skip' };
for (const [name, catchUp] of Object.entries(policies)) {
  schedule(solo, '* * * * * *', ({ date, fence }) => say({ ran: name, slot: date.getTime(), fence: String(fence) }), {
    name,
    catchUp,
  });
}
say({ ready: true });
await once(process, 'SIGTERM');
await solo.close();
