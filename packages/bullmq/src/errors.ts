import { SolorunError } from '@solorun/core';

/**
 * Why a job was asked to stop.
 * - `lock lost`: its worker no longer holds BullMQ's lock on it, so another worker may have been handed it;
 * - `closing`: its worker is being closed;
 * - `cancelled`: somebody called `worker.cancelJob()` or `worker.cancelAllJobs()`.
 */
export type StopCause = 'lock lost' | 'closing' | 'cancelled';

const words: Record<StopCause, string> = {
  'lock lost': "its worker no longer holds BullMQ's lock on it, so another worker may have been handed it",
  closing: 'its worker is being closed',
  cancelled: 'it was cancelled',
};

/** BullMQ wants a job to stop. The reason of the processor's signal, and what `checkpoint()` throws. */
export class JobStoppedError extends SolorunError {
  /** The job's id. */
  readonly job: string | undefined;
  readonly reason: StopCause;

  constructor(job: string | undefined, reason: StopCause, detail?: string) {
    super('SOLORUN_JOB_STOPPED', `Job ${job ?? 'without an id'} was asked to stop: ${detail ?? words[reason]}.`);
    this.job = job;
    this.reason = reason;
  }
}

/**
 * An error as the process of a sandboxed processor can send it to its worker. BullMQ turns it into JSON, and what JSON cannot hold
 * (a fence is a bigint) would end that process and leave the job without its error.
 */
export function sendable(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  try {
    for (const name of Object.getOwnPropertyNames(error)) JSON.stringify(error[name as keyof Error]);
    return error;
  } catch (unsendable) {
    if (!(unsendable instanceof TypeError)) throw unsendable;
    const { name, message, stack } = error;
    const code: unknown = 'code' in error ? error.code : undefined;
    return Object.assign(new Error(message), { name, stack, ...(typeof code === 'string' ? { code } : {}) });
  }
}
