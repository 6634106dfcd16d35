// @ts-check
// Acquires names drawn at random out of `count`, and appends each with its fence to a file, under the lock.
import { openSync, writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', file = '', prefix = '', count = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: 5_000 });
const log = openSync(file, 'a');
const over = new AbortController();
process.once('SIGTERM', () => over.abort());
say({ ready: true });
while (!over.signal.aborted) {
  const name = `${prefix}${Math.floor(Math.random() * Number(count))}`;
  await solo.run(name, ({ fence }) => void writeSync(log, `${name} ${fence}\n`));
  await setImmediate();
}
await solo.close();
