import { OptionError } from '@solorun/core';
import type { Job } from 'bullmq';

/** How a job that cannot run now is put off. Nothing is kept for it: it follows from what BullMQ keeps of the job. */
export interface PutOffOptions {
  /** The first delay, in ms; at least 20. @default 1_000 */
  readonly minMs?: number;
  /** No delay is longer than this, in ms. @default 30_000 */
  readonly maxMs?: number;
  /** By how much the delay grows from try to try. @default 2 */
  readonly factor?: number;
  /**
   * `half`: anything from half the delay to all of it, so that jobs that were queued together spread out and none comes back at
   * once. `none`: the delay itself. @default 'half'
   */
  readonly jitter?: 'half' | 'none';
  /** How often a job is put off before it fails. @default Infinity */
  readonly maxTries?: number;
  /** A job that was due longer ago than this is not put off any more and fails, in ms; `Infinity` is allowed. @default 86_400_000, a day */
  readonly maxAgeMs?: number;
}

export type PutOff = Readonly<Required<PutOffOptions>>;

/** What BullMQ keeps of a job, here and in the process of a sandboxed processor. */
export type Kept = Pick<Job, 'attemptsStarted' | 'attemptsMade' | 'timestamp' | 'opts'>;

/** A shorter one would keep worker and server busy with jobs that cannot run. */
const SHORTEST_MS = 20;

export function settlePutOff(options: PutOffOptions = {}): PutOff {
  const { minMs = 1_000, maxMs = 30_000, factor = 2, jitter = 'half' } = options;
  const { maxTries = Number.POSITIVE_INFINITY, maxAgeMs = 86_400_000 } = options;
  if (!(minMs >= SHORTEST_MS) || !(maxMs >= minMs) || !Number.isFinite(maxMs)) {
    throw new OptionError(`backoff.minMs and backoff.maxMs need ${SHORTEST_MS} <= minMs <= maxMs, not ${minMs} and ${maxMs}.`);
  }
  if (!(factor >= 1) || !Number.isFinite(factor)) throw new OptionError(`backoff.factor is at least 1, not ${factor}.`);
  if (jitter !== 'half' && jitter !== 'none') throw new OptionError(`backoff.jitter is 'half' or 'none'.`);
  const whole = maxTries === Number.POSITIVE_INFINITY || Number.isSafeInteger(maxTries);
  if (!whole || maxTries < 0) throw new OptionError(`backoff.maxTries is a whole number from 0, or Infinity, not ${maxTries}.`);
  if (typeof maxAgeMs !== 'number' || !(maxAgeMs >= 0)) {
    throw new OptionError(`backoff.maxAgeMs is a number of milliseconds from 0, or Infinity, not ${String(maxAgeMs)}.`);
  }
  return Object.freeze({ minMs, maxMs, factor, jitter, maxTries, maxAgeMs });
}

/**
 * Which try this is, from 1: how often the job was started without failing. `moveToDelayed` leaves `attemptsMade` alone, and each
 * start raises `attemptsStarted`.
 */
export function tryOf(job: Kept): number {
  return Math.max(1, job.attemptsStarted - job.attemptsMade);
}

/** How long ago the job was due, in ms, by this machine's clock. */
export function ageOf(job: Kept, now: number = Date.now()): number {
  return now - job.timestamp - (job.opts.delay ?? 0);
}

/** For how long to put the job off, in whole ms (Postgres keeps no others); undefined when that was done for long enough. */
export function putOffMs(putOff: PutOff, job: Kept, random: () => number = Math.random): number | undefined {
  const { minMs, maxMs, factor, jitter, maxTries, maxAgeMs } = putOff;
  const nth = tryOf(job);
  if (nth > maxTries || ageOf(job) > maxAgeMs) return undefined;
  const ceiling = Math.min(maxMs, minMs * factor ** (nth - 1));
  return Math.ceil(jitter === 'none' ? ceiling : ceiling * (0.5 + random() / 2));
}
