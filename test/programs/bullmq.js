// @ts-check
// BullMQ workers of one process, which say what their jobs do: node bullmq.js <label> <backend URL> <store>
// On stdin, a line each: { work: <queue>, stock?: true, options?, solo?: singletonProcessor's } and { close: <queue> }; its end closes all.
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachWorker, singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { createPostgresBackend, Worker } from 'bullmq';
import { now, say } from './say.js';
import { openStore } from './store.js';

/** @import { Job } from 'bullmq' */

/**
 * @typedef {object} Task What a job is to do.
 * @property {string} lock
 * @property {number} ms For how long it runs.
 * @property {string} [staller] The process that stands still in the middle of it, once `together` of its jobs are there.
 * @property {number} [together]
 * @property {string} [until] The file whose being there ends that.
 */

/** In which a job that stood still is told so, if it ever is. */
const TOLD_MS = 3_000;

const [label = '', backend = '', store = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), label });
solo.on('busy', ({ name }) => say({ busy: name }));
/** @type {Map<string, Worker>} */
const workers = new Map();
let inside = 0;
/** @type {(() => void)[]} */
const awake = [];

/** @param {Job<Task>} job @param {string | undefined} _token @param {AbortSignal | undefined} signal @param {{ fence: bigint }} [run] */
async function act(job, _token, signal, run) {
  const { lock, ms, staller, together = 0, until = '' } = job.data;
  const from = now();
  if (staller === label && job.stalledCounter === 0) {
    inside += 1;
    say({ inside });
    const woken = new Promise((resolve) => awake.push(() => resolve(undefined)));
    if (inside === together) {
      inside = 0;
      while (!existsSync(until)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      for (const wake of awake.splice(0)) wake();
    }
    await woken;
    // With the first renewal that fails. BullMQ alone does not tell.
    const told = new Promise((resolve) => signal?.addEventListener('abort', () => resolve(undefined)));
    if (signal?.aborted !== true) await Promise.race([told, sleep(TOLD_MS)]);
  }
  await sleep(ms);
  say({ ran: lock, job: job.id, from, to: now(), fence: String(run?.fence ?? ''), aborted: signal?.reason?.reason });
}

/** @param {{ work: string, stock?: boolean, options?: object, solo?: { backoff?: object } }} order */
function work({ work: queue, stock = false, options, solo: how }) {
  const processor = stock ? act : singletonProcessor(solo, { name: (/** @type {Job<Task>} */ job) => job.data.lock, ...how }, act);
  const url = new URL(backend);
  const onPostgres = url.protocol === 'postgresql:';
  const connection = onPostgres
    ? { connectionString: backend, max: 4 }
    : { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
  // Typed by their backend, and here it may be either.
  const factory = /** @type {undefined} */ (/** @type {unknown} */ (onPostgres ? createPostgresBackend : undefined));
  const worker = new Worker(queue, processor, { connection, drainDelay: 1, ...options }, factory);
  attachWorker(worker);
  worker.on('failed', (job, error) => say({ failed: job?.id, error: String(error) }));
  worker.on('error', () => {});
  worker.on('ready', () => say({ ready: queue }));
  workers.set(queue, worker);
}

say({ up: label });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if ('work' in order) work(order);
  else await workers.get(order.close)?.close();
}
await Promise.all([...workers.values()].map((worker) => worker.close()));
await solo.close();
