// @ts-check
// A replica of a job that is due each two seconds.
import { createSolo } from '@solorun/core';
import { schedule } from '@solorun/node-cron';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: 2_000 });
schedule(solo, '*/2 * * * * *', ({ date }) => say({ ran: date.toISOString() }), { name: 'heard' });
