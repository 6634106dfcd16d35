import { OptionError } from '@solorun/core';
import type { IQueueBackend, Job, JobProgress, Worker } from 'bullmq';
import type { StopCause } from './errors.ts';
import { running, stopWord, type HandOut } from './hand-out.ts';

export interface AttachOptions {
  /**
   * How long jobs may go on after `worker.close()` was called, in ms, before their signals abort. `Infinity`: the signals never abort,
   * and `close()` waits for the jobs. @default 5_000
   */
  readonly graceMs?: number;
}

/** While a worker is closing, jobs that it fetched just before may still begin: so often they are asked to stop again, in ms. */
const AGAIN_MS = 1_000;

/**
 * Aborts the signals of a worker's jobs for reasons that only the worker learns. Call it when the worker is made.
 *
 * - A job whose BullMQ lock could not be renewed (`lockRenewalFailed`) is asked to stop: BullMQ may have handed it to another worker.
 *   A job that this very worker is handed a second time is asked to stop, too.
 * - When the worker closes, its jobs go on for `graceMs` and are then asked to stop. A job that stops, and so rejects, goes back to
 *   the queue for another worker. No attempt is counted, and its lock is free by then. `close()` waits for all of them.
 *
 * It works for processors made by `singletonProcessor`, in files of their own too, and also where a framework calls them with job and
 * token alone. Other processors get BullMQ's signal, with a string as the reason.
 *
 * @returns a function that detaches it.
 * @throws OptionError
 */
export function attachWorker<Data, Result, Name extends string, B extends IQueueBackend, P extends JobProgress, C>(
  worker: Worker<Data, Result, Name, B, P, C>,
  { graceMs = 5_000 }: AttachOptions = {},
): () => void {
  if (typeof graceMs !== 'number' || !(graceMs >= 0)) {
    throw new OptionError(`graceMs is a number of milliseconds from 0, or Infinity, not ${String(graceMs)}.`);
  }
  /** The jobs that the worker was handed, as objects: each hand-out has an object of its own. */
  const given = new WeakSet<object>();
  let timer: NodeJS.Timeout | undefined;

  // A framework may pass on a job of its own making; BullMQ makes each token of the worker's id and a number.
  const handed = ({ job, token }: HandOut): boolean => given.has(job) || token?.startsWith(`${worker.id}:`) === true;
  const mine = (id: string | undefined): HandOut[] => running((out) => out.job.id === id && handed(out));

  const onActive = (job: Job<Data, Result, Name, P>): void => {
    // An earlier run of the job still goes on here, so BullMQ's lock of that run is lost.
    for (const earlier of mine(job.id)) earlier.stop('lock lost');
    given.add(job);
  };
  const onLockLost = (ids: string[]): void => {
    for (const id of ids) {
      const hits = mine(id);
      for (const hit of hits) hit.stop('lock lost');
      if (hits.length === 0) worker.cancelJob(id, stopWord('lock lost'));
    }
  };
  const stopAll = (cause: StopCause): void => {
    // BullMQ reaches processors in files of their own, but no function of two parameters.
    for (const each of running(handed)) each.stop(cause);
    worker.cancelAllJobs(stopWord(cause));
    timer = setTimeout(stopAll, AGAIN_MS, cause);
  };
  const onClosing = (): void => {
    if (graceMs !== Number.POSITIVE_INFINITY) timer = setTimeout(stopAll, Math.min(graceMs, 2 ** 31 - 1), 'closing');
  };
  const onClosed = (): void => {
    clearTimeout(timer);
    // close(true) does not wait for jobs that run.
    for (const left of running(handed)) left.stop('closing');
  };

  worker.on('active', onActive).on('lockRenewalFailed', onLockLost).on('closing', onClosing).on('closed', onClosed);
  return () => {
    clearTimeout(timer);
    worker.off('active', onActive).off('lockRenewalFailed', onLockLost).off('closing', onClosing).off('closed', onClosed);
  };
}
