import { attachWorker, singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { redis } from '@solorun/redis';
import { Queue, Worker, type Job } from 'bullmq';
import { endOfJob, runStep, type Step } from './etl.ts';

const url = process.env['REDIS_URL'] ?? '';
const connection = { url, maxRetriesPerRequest: null };
const queue = new Queue<Step>('etl', { connection });

const solo = createSolo({ provider: redis({ url }), leaseMs: 10_000 });

const processor = singletonProcessor(
  solo,
  {
    // Of all jobs with the same lock, over all workers, one runs at a time.
    name: (job: Job<Step>) => `etl/${job.data.day}/${job.data.step}`,
    // And of all jobs with this instant, one runs: the others complete as skipped.
    occurrence: (job) => new Date(job.data.day),
  },
  async (job, token, signal, run) => {
    const rows = await runStep(job.data, signal); // stops when the lock is lost, or BullMQ's lock on the job
    run.checkpoint(); // throws if one of them is lost: nothing of a stale run goes further than this
    return { rows, fence: String(run.fence) };
  },
);

const worker = new Worker('etl', processor, { connection, concurrency: 10, maxStalledCount: 10 });
attachWorker(worker);

await queue.add('step', { day: '2026-11-01', step: 'join' });
await queue.add('step', { day: '2026-11-01', step: 'join' }); // twice, by accident
await endOfJob(worker, 2);

// At the end of the program: what runs goes on for 5 s, is then asked to stop, and goes back to the queue.
await worker.close();
await solo.close();
await queue.close();
