import { DelayedError, WaitingError, type Job } from 'bullmq';
import { ageOf, putOffMs, tryOf, type Kept, type PutOff } from './backoff.ts';

/** What is done to a job that is not to run here and now. */
export interface Handed {
  readonly job: Kept & Pick<Job, 'id' | 'log' | 'moveToDelayed' | 'moveToWait'>;
  readonly token: string | undefined;
}

/**
 * Puts a job off, and says why in its log. It comes again by itself, and no attempt is counted.
 *
 * @param error what it fails with if it was put off for long enough.
 */
export async function putOff(backoff: PutOff, { job, token }: Handed, why: string, error: Error): Promise<never> {
  const ms = putOffMs(backoff, job);
  const nth = tryOf(job);
  if (ms === undefined) {
    await note(job, `${why}: given up at try ${nth}, ${Math.round(ageOf(job) / 1000)} s after the job was due`);
    throw error;
  }
  // A line each time would fill the log of a job that waits for a day.
  if (Number.isInteger(Math.log2(nth))) await note(job, `${why}: try ${nth}, the next one in ${Math.round(ms)} ms`);
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

/** Puts a job back in line, for another worker: this one closes. No attempt is counted. */
export async function giveBack({ job, token }: Handed): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

const settling: ReadonlySet<string> = new Set([
  'DelayedError',
  'RateLimitError',
  'UnrecoverableError',
  'WaitingChildrenError',
  'WaitingError',
]);

/** Whether a processor says by this error what is to become of its job. By name, as BullMQ looks. */
export function settlesTheJob(error: unknown): boolean {
  return error instanceof Error && (settling.has(error.name) || error.message === 'bullmq:rateLimitExceeded');
}

/** A line that cannot be written decides nothing: what is done to the job next tells whether it is still there. */
async function note(job: Handed['job'], line: string): Promise<void> {
  try {
    await job.log(line);
  } catch (error) {
    process.emitWarning(
      `Cannot write to the log of job ${job.id ?? ''}: ${error instanceof Error ? error.message : String(error)}`,
      {
        code: 'SOLORUN_JOB_LOG',
      },
    );
  }
}

const warned = new WeakSet<object>();

/** BullMQ fails a job that was started too often, and being put off counts. Its worker is a private field of a job. */
export function warnOfMaxStartedAttempts(job: object): void {
  const { queue } = job as {
    readonly queue?: { readonly name?: string; readonly opts?: { readonly maxStartedAttempts?: number } };
  };
  const limit = queue?.opts?.maxStartedAttempts;
  if (queue === undefined || !(Number(limit) > 0) || warned.has(queue)) return;
  warned.add(queue);
  process.emitWarning(
    `The worker of ${JSON.stringify(queue.name)} has maxStartedAttempts = ${limit}, and each time that a job finds its lock busy counts: ` +
      `after ${limit} of them BullMQ fails the job. Leave it out, or choose onBusy: 'skip', 'wait' or 'fail'.`,
    { code: 'SOLORUN_MAX_STARTED_ATTEMPTS' },
  );
}
