// @ts-check
// One replica of a fleet: does its workload and writes down what happens, until it is told to stop, or killed.
//   node worker.js '{ "label": …, "journal": …, "store": …, "workload": …, … }'
// On stdin, a line each: `block MS` lets the event loop stand still, `heavy MS` does so at the beginning of each run from then on,
// `pause MS NAME` and `resume 0 NAME` do that to a lock, `stop` ends it.

import { createInterface } from 'node:readline';
import { createSolo } from '@solorun/core';
import { openStore } from '@solorun/test/store';
import { createHandler } from './handler.js';
import { now, openJournal } from './journal.js';
import { witnessed } from './witnessed.js';
import { workloads } from './workloads.js';

/**
 * @typedef {object} Job What a fleet does.
 * @property {keyof typeof workloads} workload
 * @property {readonly string[]} names The locks.
 * @property {number} leaseMs
 * @property {number} tickMs Between two occurrences of a name.
 * @property {number} jobMs How long a run takes.
 * @property {number} stepMs Between two questions to its lease.
 * @property {import('./handler.js').Asks} asks
 * @property {'skip' | 'retry' | 'wait' | 'standby'} onBusy
 * @property {number} attempts
 * @property {string} [database] Where the guarded counter is kept.
 * @property {string} [queue] Where BullMQ's jobs are: a URL of Redis.
 */

/** @typedef {Job & { readonly label: string, readonly journal: string, readonly store: string, readonly lateMs?: number }} Orders */

/** A longer gap between two turns of the event loop is noted (ms). */
const STALL_MS = 40;

/** @type {Orders} */
const orders = JSON.parse(process.argv[2] ?? '');
const { note, close } = openJournal(orders.journal, orders.label);
const { provider, sentAt } = witnessed(await openStore(orders.store));
const solo = createSolo({ provider, label: orders.label, leaseMs: orders.leaseMs });

/** @param {number} ms */
function block(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

let turn = now();
const watching = setInterval(() => {
  const t = now();
  if (t - turn > STALL_MS) note({ kind: 'stalled', from: turn, t });
  turn = t;
}, 10);

/** @param {string} name @param {number} ms */
async function pause(name, ms) {
  const from = now();
  try {
    await solo.pause(name, { untilMs: ms, note: 'by the fault programme' });
    note({ kind: 'paused', name, from, value: ms });
  } catch {
    // Not confirmed, so nothing is promised; the faults of a round keep stores from answering.
  }
}

/** @param {string} name */
async function resume(name) {
  note({ kind: 'resuming', name });
  // One that is not confirmed ends by itself.
  await solo.resume(name).catch(() => false);
}

let heavyMs = 0;
const handler = createHandler({ ...orders, sentAt, begun: () => block(heavyMs) }, note);
const stop = await workloads[orders.workload]({ solo, orders, note, handler });
note({ kind: 'up' });

for await (const line of createInterface({ input: process.stdin })) {
  const [, verb, ms, name = ''] = /^(\S+) ?(\S*) ?(.*)$/.exec(line) ?? [];
  if (verb === 'block') block(Number(ms));
  else if (verb === 'heavy') heavyMs = Number(ms);
  else if (verb === 'pause') void pause(name, Number(ms));
  else if (verb === 'resume') void resume(name);
  else break;
}
process.stdin.destroy();
await stop();
await solo.close();
clearInterval(watching);
note({ kind: 'closed' });
close();
// No process.exit(): what is left open keeps this process alive, and that is found.
