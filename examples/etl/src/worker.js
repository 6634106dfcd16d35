// @ts-check
// A worker for the steps. Start as many as you like, on as many hosts: of one step for one day, one runs at a time, and once.

import { attachWorker, isSkipped, singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { Worker } from 'bullmq';
import { QUEUE, serverAt } from './queue.js';
import { endSteps, runStep } from './steps.js';

const { connection, backend, provider } = serverAt(process.env['QUEUE_URL']);
const solo = createSolo({ provider: provider(), leaseMs: 8_000 });

const processor = singletonProcessor(
  solo,
  {
    // The lock of one step of one day. The day is in its name, so that an older one can be made up for after a newer one.
    name: (/** @type {import('./steps.js').StepJob} */ job) => `etl/${job.data.day}/${job.name}`,
    // Kept when the run is done: the same step that was queued once more, or handed out once more, then completes as skipped.
    occurrence: (job) => new Date(job.data.day),
    backoff: { minMs: 250, maxMs: 4_000 },
  },
  async (job, _token, _signal, run) => {
    const step = `${job.name} of ${job.data.day}`;
    console.log(`${step} begins under fence ${run.fence}`);
    try {
      return await runStep(job, run);
    } catch (error) {
      console.log(`${step} under fence ${run.fence} stops: ${String(error)}`);
      throw error;
    }
  },
);

const worker = new Worker(
  QUEUE,
  processor,
  {
    connection,
    concurrency: 2,
    // Short, as somebody watches. BullMQ's own are 30 s.
    lockDuration: 2_000,
    stalledInterval: 1_000,
    // The default of 1 fails a job whose worker is lost for the second time. That says nothing about the job.
    maxStalledCount: 100,
  },
  backend,
);
attachWorker(worker, { graceMs: 2_000 });
worker.on('ready', () => console.log('ready'));
worker.on('completed', ({ name, data, returnvalue }) => {
  const how = isSkipped(returnvalue) ? `is skipped: ${returnvalue.reason}` : `is done: ${returnvalue}`;
  console.log(`${name} of ${data.day} ${how}`);
});
worker.on('stalled', (id) => console.log(`job ${id} has stalled`));
worker.on('failed', (job, error) => console.log(`job ${job?.id} fails: ${String(error)}`));
worker.on('error', (error) => console.log(`the worker's trouble: ${String(error)}`));

process.once('SIGTERM', () => void end());

async function end() {
  await worker.close();
  await solo.close();
  await endSteps();
}
