// @ts-check
// A replica of whatever version its imports are of: runs an occurrence each 100 ms, and a plain lock in between, until it is told to stop.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { now, say } from './say.js';
import { openStore } from './store.js';

const [store = '', label = ''] = process.argv.slice(2);
const EVERY_MS = 100;
const solo = createSolo({ provider: await openStore(store), label, leaseMs: 3_000 });
const over = new AbortController();
void once(process, 'SIGTERM').then(() => over.abort());

/** @param {string} name @param {import('@solorun/core').RunContext} context */
async function job(name, { fence, occurrence }) {
  const began = now();
  await sleep(5);
  say({ ran: name, fence: String(fence), slot: occurrence?.at.getTime(), began, ended: now() });
}

say({ ready: label });
while (!over.signal.aborted) {
  const at = new Date(Math.floor(Date.now() / EVERY_MS) * EVERY_MS);
  await solo.run('ticks', (run) => job('ticks', run), { occurrence: at, attempts: 2 });
  await solo.run('plain', (run) => job('plain', run), { onBusy: 'wait', waitMs: 60_000 });
  await sleep(at.getTime() + EVERY_MS - Date.now());
}
const records = [];
for await (const record of solo.list()) records.push(record.name);
say({ records: records.sort() });
await solo.close();
