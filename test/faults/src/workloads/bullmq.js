// @ts-check
// A BullMQ worker of each replica, and one job scheduler for each name. Jobs go to a queue on a Redis that no fault touches.

import { attachWorker, singletonProcessor } from '@solorun/bullmq';
import { Queue, Worker } from 'bullmq';

/** @import { Stage } from '../workloads.js' */

/** @param {Stage} stage */
export async function bullmq({ solo, orders, note, handler }) {
  const { names, tickMs, attempts } = orders;
  const { hostname: host, port } = new URL(orders.queue ?? '');
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue('faults', { connection });
  for (const name of names) {
    // With attempts left, a failed job comes again, at most as often as its occurrence may be tried.
    const opts = { attempts, removeOnComplete: true, removeOnFail: true, backoff: { type: 'fixed', delay: 100 } };
    await queue.upsertJobScheduler(name, { every: tickMs }, { name, opts });
  }
  let count = 0;
  const processor = singletonProcessor(
    solo,
    { name: (job) => job.name, occurrence: 'scheduled', attempts, onBusy: 'retry', backoff: { minMs: 50, maxMs: 500 } },
    async (job, _token, _signal, run) => {
      const id = String((count += 1));
      note({ kind: 'asked', id, name: job.name });
      await handler(id, job.name, run);
      note({ kind: 'answered', id, name: job.name, result: 'ran' });
    },
  );
  const worker = new Worker('faults', processor, { connection, concurrency: names.length, drainDelay: 1, stalledInterval: 1_000 });
  worker.on('error', () => {});
  attachWorker(worker);
  await worker.waitUntilReady();
  return async () => {
    await worker.close();
    await queue.close();
  };
}
