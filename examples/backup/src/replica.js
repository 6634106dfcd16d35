// @ts-check
// One replica of a program that backs up a directory every second. Start as many as you like: each tick is backed up once.

import { parseArgs } from 'node:util';
import { createSolo } from '@solorun/core';
import { schedule } from '@solorun/node-cron';
import { backup } from './backup.js';
import { openJournal } from './journal.js';
import { openStore } from './store.js';

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'replica-1' },
    // Of a store with a password in it everybody on the machine would see the option.
    store: { type: 'string', default: process.env['SOLORUN_STORE'] ?? 'file:./locks' },
    source: { type: 'string', default: './data' },
    destination: { type: 'string', default: './backups' },
    journals: { type: 'string', default: './journals' },
    'lease-ms': { type: 'string', default: '30000' },
    'bytes-per-second': { type: 'string', default: 'Infinity' },
  },
});
const { name, store, source, destination } = values;
const bytesPerSecond = Number(values['bytes-per-second']);

const solo = createSolo({ provider: openStore(store), leaseMs: Number(values['lease-ms']), label: name });
const journal = openJournal(values.journals, name, solo);

schedule(
  solo,
  '* * * * * *',
  (run) => journal.record(run, (onStep) => backup(run, { source, destination, bytesPerSecond, onStep })),
  {
    // Not one that a program of yours may have on the same server.
    name: 'example-backup',
    // Of all replicas one runs the tick. The others stand by until it is done, and one of them takes over if its runner dies.
    onBusy: 'standby',
    // The first run of a tick, and at most two more after crashes, over the whole fleet.
    attempts: 3,
  },
);
journal.up();

// On SIGTERM: claim nothing more, ask a backup that runs to stop, give the lock back. Another replica carries on.
process.once('SIGTERM', () => void solo.close().finally(() => process.exit()));
