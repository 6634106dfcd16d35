import type { Solo } from '@solorun/core';
import { sendable } from './errors.ts';
import { handOut } from './hand-out.ts';
import { JobRun, type SingletonHandler } from './job-run.ts';
import { settle, type AnyResultJob, type SingletonOptions } from './options.ts';
import type { SkippedJob } from './skipped-job.ts';

/** The function that BullMQ calls. BullMQ counts the parameters, and passes its signal only to functions that have three. */
export type SingletonProcessor<Data, Result, Name extends string> = (
  job: AnyResultJob<Data, Name>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result | SkippedJob>;

/**
 * Wraps a BullMQ processor so that of all jobs with one lock name one runs at a time: over all workers, processes and queues, also
 * when BullMQ hands a job to a second worker while the first still runs it. Works on each of BullMQ's backends, and as the default
 * export of a sandboxed processor's file.
 *
 * - While the lock is busy, `onBusy` decides. Unless it is given, the jobs of a job scheduler are skipped, and others are put off and
 *   come again. Being put off counts no attempt (`attemptsMade`) and keeps no slot of the worker. It ends after `backoff.maxTries` or
 *   `backoff.maxAgeMs`: then the job fails with a `LockBusyError` that names the holder. The job's log names the holder at the first
 *   try, the second, the fourth and so on, and the tries are counted there.
 * - A job whose occurrence lies ahead is put off to its instant.
 * - A job that failed or stalled before is not skipped while its lock is busy, and fails if a later occurrence has been claimed
 *   meanwhile: a job that did not end well is not to end as completed.
 * - A run whose lock was lost fails with `LeaseLostError`, whatever the processor returned.
 * - A job that is asked to stop because its worker or the solo closes, and rejects, goes back to the queue; no attempt is counted.
 * - `maxStartedAttempts` of a worker also counts the starts of jobs that are put off; a process warning
 *   (`SOLORUN_MAX_STARTED_ATTEMPTS`) says so once.
 *
 * @throws OptionError; UnsupportedError if the provider keeps no occurrences. A job fails with the processor's own error; with
 * LeaseLostError; with LockBusyError, LockTimeoutError or ProviderError by policy; with UnrecoverableError if all attempts of the
 * occurrence are used up, or if the job failed or stalled before and a later occurrence has been claimed.
 * @example
 * const worker = new Worker('etl', singletonProcessor(solo, { name: (job) => `etl/${job.data.step}` }, runStep), { connection });
 * attachWorker(worker);
 */
export function singletonProcessor<Data, Result, Name extends string = string>(
  solo: Solo,
  options: SingletonOptions<Data, Name>,
  processor: SingletonHandler<Data, Result, Name>,
): SingletonProcessor<Data, Result, Name> {
  const settings = settle(solo, options, processor);

  // Exactly three parameters, none of them optional in JavaScript: see SingletonProcessor.
  return async (job, token, signal) => {
    const out = handOut(job, token, signal);
    try {
      return await new JobRun(solo, settings, processor, out).handle();
    } catch (error) {
      // A job in the process of a sandboxed processor has only some of a job's methods.
      throw 'toJSON' in job ? error : sendable(error);
    } finally {
      out.end();
    }
  };
}
