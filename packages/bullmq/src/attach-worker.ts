import { OptionError } from '@solorun/core';
import type { IQueueBackend, Job, JobProgress, Worker } from 'bullmq';
import type { StopCause } from './errors.ts';
import { running, stopWord, type HandOut } from './hand-out.ts';

export interface AttachOptions {
  /**
   * How long jobs may go on after `worker.close()` was called, in ms, before their signals abort. `Infinity`: they never do, and
   * `close()` waits for them. @default 5_000
   */
  readonly graceMs?: number;
}

/** While a worker is closing, jobs that it fetched in that very moment may still begin. */
const AGAIN_MS = 1_000;

/**
 * Tells the jobs of a worker what the worker alone learns, by their signals. To be called when the worker is made.
 *
 * - A job whose own lock could not be renewed (`lockRenewalFailed`) is asked to stop: BullMQ may have handed it to another worker.
 *   So is one that this very worker is handed a second time.
 * - When the worker closes, its jobs go on for `graceMs` and are then asked to stop. One that stops, and so rejects, is given back
 *   to the queue for another worker, without an attempt being counted; its lock is free by then. `close()` waits for all of them.
 *
 * Works for processors made by `singletonProcessor`, in files of their own too, and also where a framework calls them with job and
 * token alone. Other processors are told by BullMQ's signal, with a string as the reason.
 *
 * @returns what detaches it.
 * @throws OptionError
 */
export function attachWorker<Data, Result, Name extends string, B extends IQueueBackend, P extends JobProgress, C>(
  worker: Worker<Data, Result, Name, B, P, C>,
  { graceMs = 5_000 }: AttachOptions = {},
): () => void {
  if (typeof graceMs !== 'number' || !(graceMs >= 0)) {
    throw new OptionError(`graceMs is a number of milliseconds from 0, or Infinity, not ${String(graceMs)}.`);
  }
  /** The jobs it was handed, as objects: each hand-out has one of its own. */
  const given = new WeakSet<object>();
  let timer: NodeJS.Timeout | undefined;

  // A framework may pass on a job of its own making; BullMQ makes each token of the worker's id and a number.
  const handed = ({ job, token }: HandOut): boolean => given.has(job) || token?.startsWith(`${worker.id}:`) === true;
  const mine = (id: string | undefined): HandOut[] => running((out) => out.job.id === id && handed(out));

  const onActive = (job: Job<Data, Result, Name, P>): void => {
    // Its earlier run here still goes on, and so has lost BullMQ's lock.
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
    // Those that close(true) did not wait for.
    for (const left of running(handed)) left.stop('closing');
  };

  worker.on('active', onActive).on('lockRenewalFailed', onLockLost).on('closing', onClosing).on('closed', onClosed);
  return () => {
    clearTimeout(timer);
    worker.off('active', onActive).off('lockRenewalFailed', onLockLost).off('closing', onClosing).off('closed', onClosed);
  };
}
