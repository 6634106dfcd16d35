import { OptionError } from './errors.ts';

/** How `onBusy: 'retry'` spaces its tries: exponential backoff with full jitter. */
export interface BackoffOptions {
  /** Tries after the first one. @default 5 */
  readonly retries?: number;
  /** The ceiling of the first delay, in ms. @default 100 */
  readonly minMs?: number;
  /** No delay is longer than this, in ms. @default 10_000 */
  readonly maxMs?: number;
  /** By how much the ceiling grows from try to try. @default 2 */
  readonly factor?: number;
  /**
   * `full`: anything from 0 to the ceiling, so that waiters spread out
   * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). `none`: the ceiling itself. @default 'full'
   */
  readonly jitter?: 'full' | 'none';
}

export type Backoff = Readonly<Required<BackoffOptions>>;

export function settleBackoff(options: BackoffOptions = {}): Backoff {
  const { retries = 5, minMs = 100, maxMs = 10_000, factor = 2, jitter = 'full' } = options;
  const whole = retries === Number.POSITIVE_INFINITY || Number.isSafeInteger(retries);
  if (!whole || retries < 0) throw new OptionError(`retry.retries is a whole number from 0, not ${retries}.`);
  if (!(minMs > 0) || !(maxMs >= minMs) || !Number.isFinite(maxMs)) {
    throw new OptionError(`retry.minMs and retry.maxMs need 0 < minMs <= maxMs, not ${minMs} and ${maxMs}.`);
  }
  if (!(factor >= 1) || !Number.isFinite(factor)) throw new OptionError(`retry.factor is at least 1, not ${factor}.`);
  if (jitter !== 'full' && jitter !== 'none') throw new OptionError(`retry.jitter is 'full' or 'none'.`);
  return Object.freeze({ retries, minMs, maxMs, factor, jitter });
}

/** The delay before retry number `retry` (from 1), in ms. */
export function backoffDelay(backoff: Backoff, retry: number, random: () => number = Math.random): number {
  const ceiling = Math.min(backoff.maxMs, backoff.minMs * backoff.factor ** (retry - 1));
  return backoff.jitter === 'full' ? random() * ceiling : ceiling;
}
