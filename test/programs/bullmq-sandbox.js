// @ts-check
// The file of a sandboxed processor.
import { lockfile } from '@solorun/lockfile';
import { singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { DelayedError } from 'bullmq';

/** @import { Job } from 'bullmq' */

const provider = lockfile({ directory: process.env['LOCKS'] ?? '' });
const solo = createSolo({ provider, leaseMs: 1_000, label: 'sandboxed' });

// The linter's house rule is against default exports, and BullMQ loads nothing else.
// oxlint-disable-next-line import/no-default-export
export default singletonProcessor(
  solo,
  {
    name: (/** @type {Job<{ lock: string }>} */ job) => job.data.lock,
    backoff: { minMs: 3_600_000, maxMs: 3_600_000, maxTries: 2 },
  },
  async (job, token, signal, run) => {
    if (job.name === 'carry') {
      const response = { status: 503, self: {} };
      response.self = response;
      throw Object.assign(new Error('away', { cause: new TypeError('why') }), { fence: run.fence, response });
    }
    if (job.name === 'steps') {
      await job.moveToDelayed(Date.now() + 3_600_000, token);
      throw new DelayedError();
    }
    const aborted = () => new Promise((resolve) => signal.addEventListener('abort', resolve));
    if (job.name === 'lose') await provider.release(run.grant, { result: 'done' }, new AbortController().signal);
    if (job.name !== 'run') {
      await job.updateProgress(50);
      await aborted();
    }
    if (job.name === 'stop') throw signal.reason;
    return { pid: process.pid, fence: String(run.fence) };
  },
);
