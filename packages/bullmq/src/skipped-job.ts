import type { Holder, SkipReason } from '@solorun/core';

/** The return value of a job that completes without having been run. Plain JSON, as BullMQ keeps it. */
export interface SkippedJob {
  readonly skipped: true;
  /** The lock's name. */
  readonly lock: string;
  /**
   * `held`: another job or process held the lock, and the policy is to skip. `done`: the occurrence has been run. `superseded`: a later
   * one has been claimed. `paused`: an operator has paused the lock, and the policy is to skip.
   */
  readonly reason: Exclude<SkipReason, 'closed' | 'early' | 'exhausted'>;
  /** The holder of the lock, for `held`; since when, as ISO 8601 by the provider's clock. */
  readonly holder?: { readonly host: string; readonly pid: number; readonly label?: string; readonly since: string };
}

/** Whether a job's return value says that it was skipped. */
export function isSkipped(returnvalue: unknown): returnvalue is SkippedJob {
  if (typeof returnvalue !== 'object' || returnvalue === null) return false;
  const { skipped, lock, reason } = returnvalue as Partial<SkippedJob>;
  return skipped === true && typeof lock === 'string' && typeof reason === 'string';
}

export function skippedJob(lock: string, reason: SkippedJob['reason'], holder: Holder | undefined): SkippedJob {
  if (holder === undefined) return { skipped: true, lock, reason };
  const { host, pid, label, since } = holder;
  const by = { host, pid, ...(label === undefined ? {} : { label }), since: since.toISOString() };
  return { skipped: true, lock, reason, holder: by };
}
