// @ts-check

import { Queue, Worker } from 'bullmq';
import { NAME } from '../recipe.js';

/** @import { Job } from 'bullmq' */
/** @import { Recipe, Setting } from '../recipe.js' */

/**
 * A worker on each replica. Ticks come from a job scheduler; what is held for long is one job.
 *
 * @param {Setting} setting
 * @returns {Promise<Recipe>}
 */
export async function bullmq({ store, leaseMs, tell }) {
  const { hostname, port } = new URL(store);
  const connection = { host: hostname, port: Number(port) };
  const queue = new Queue(NAME, { connection });
  const work = (/** @type {(job: Job) => Promise<void>} */ act) => {
    const worker = new Worker(NAME, act, {
      connection: { ...connection, maxRetriesPerRequest: null },
      lockDuration: leaseMs,
      stalledInterval: leaseMs,
    });
    worker.on('error', (error) => process.stderr.write(`${error.message}\n`));
    worker.on('lockRenewalFailed', () => tell('lockRenewalFailed, an event of the worker'));
  };
  return {
    schedule(expression, act) {
      void queue.upsertJobScheduler(NAME, { pattern: expression });
      // A tick's job is called after its instant: `repeat:<scheduler>:<ms>`.
      work((job) => act(new Date(Number(job.id?.split(':').at(-1)))));
    },
    hold: (act) =>
      new Promise((resolve, reject) => {
        work(() => {
          const acting = act();
          acting.then(resolve, reject);
          return acting;
        });
        void queue.add(NAME, {}, { jobId: 'one' });
      }),
  };
}
