import { OptionError } from '@solorun/core';
import type { Spell } from './spell.ts';

/**
 * How a job that cannot run now is put off. The count is kept in the job's log, and begins when this library puts the job off first:
 * neither the job's age nor its other starts matter. For a job that got its lock, failed or stalled it begins anew.
 */
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
  /** How often in a row a job is put off before it fails. If given, each try has a line in the job's log. @default Infinity */
  readonly maxTries?: number;
  /**
   * How long a job may be put off without being run, in ms; `Infinity` is allowed. After that it fails.
   * @default 86_400_000, a day
   */
  readonly maxAgeMs?: number;
}

export type PutOff = Readonly<Required<PutOffOptions>>;

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

/** For how long to put a job off, in whole ms (Postgres keeps no others). */
export function putOffMs({ minMs, maxMs, factor, jitter }: PutOff, nth: number, random: () => number = Math.random): number {
  const ceiling = Math.min(maxMs, minMs * factor ** (nth - 1));
  return Math.ceil(jitter === 'none' ? ceiling : ceiling * (0.5 + random() / 2));
}

/** Whether a job has been put off for long enough. */
export function isEnough({ maxTries, maxAgeMs }: PutOff, { tries, since }: Spell, now: number = Date.now()): boolean {
  return tries > maxTries || now - since > maxAgeMs;
}
