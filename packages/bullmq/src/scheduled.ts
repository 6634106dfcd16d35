/** A scheduler's job that starts more than this before its tick was promoted by hand, in ms. The clocks of workers differ by less. */
const PROMOTED_MS = 60_000;

interface Ticking {
  readonly id?: string | undefined;
  /** The scheduler's id. */
  readonly repeatJobKey?: string | undefined;
}

export function isScheduled(job: Ticking): boolean {
  return job.repeatJobKey !== undefined && job.repeatJobKey !== '';
}

/**
 * The scheduled time for which a job scheduler made this job. Undefined for other jobs, and for a job that was promoted before its
 * time: such a job stands in for no tick.
 *
 * BullMQ 6.7 keeps the time in the job's id, `repeat:<scheduler>:<ms>`, on both of its backends; `opts.prevMillis` is there only for
 * schedulers with a pattern.
 */
export function scheduledInstant(job: Ticking, now: number = Date.now()): Date | undefined {
  const prefix = `repeat:${job.repeatJobKey}:`;
  if (!isScheduled(job) || job.id?.startsWith(prefix) !== true) return undefined;
  const ms = job.id.slice(prefix.length);
  if (!/^\d{1,15}$/.test(ms)) return undefined;
  const at = Number(ms);
  return at > now + PROMOTED_MS ? undefined : new Date(at);
}
