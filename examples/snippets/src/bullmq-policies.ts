import { isSkipped, singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import type { Job } from 'bullmq';
import { runStep, type Step } from './etl.ts';

const solo = createSolo({ provider: memory() });

// Put off by 2 s, 4 s, … 1 min, each time by half of it at least; after an hour it fails, and the error names the holder.
singletonProcessor(
  solo,
  { name: 'etl', backoff: { minMs: 2_000, maxMs: 60_000, maxAgeMs: 3_600_000 } },
  (job: Job<Step>, _, signal) => runStep(job.data, signal),
);

// Decided from job to job, by who holds the lock.
singletonProcessor(
  solo,
  {
    name: 'etl',
    onBusy: (job: Job<Step>, holder) => (job.data.step === 'preview' || holder?.label === 'backfill' ? 'skip' : 'retry'),
  },
  (job: Job<Step>, _, signal) => runStep(job.data, signal),
);

// A job scheduler's ticks: each once, however many workers there are, and again if its worker dies, once.
singletonProcessor(solo, { name: 'nightly', occurrence: 'scheduled', attempts: 2 }, async (job, _, signal, run) => {
  await runStep({ day: run.occurrence?.at.toISOString() ?? '', step: job.name }, signal);
});

const returned: unknown = { skipped: true, lock: 'etl', reason: 'done' };
if (isSkipped(returned)) console.log(`${returned.lock} was not run: ${returned.reason}`);

await solo.close();
