import { OptionError } from './errors.ts';
import type { OccurrenceRequest, OccurrenceState } from './provider.ts';

export type OccurrenceVerdict =
  | { readonly verdict: 'claim'; readonly attempt: number }
  | { readonly verdict: 'held' | 'done' | 'superseded' | 'exhausted' }
  | { readonly verdict: 'early'; readonly earlyMs: number };

/**
 * Decides what becomes of a scheduled time that a replica asks for, given the name's high-water mark, the latest one that was
 * claimed. One mark per name is enough because it only rises: each time below it has had its chance, and a late replica that asks
 * for it is refused.
 *
 * A provider whose record lives in this process calls it; one that decides on a server follows the same table.
 *
 * @param nowMs the provider's clock, in ms since the epoch: a run never starts early by that clock.
 * @param held whether the name is held at this moment.
 */
export function judgeOccurrence(
  known: OccurrenceState | undefined,
  asked: OccurrenceRequest,
  nowMs: number,
  held: boolean,
): OccurrenceVerdict {
  const at = asked.at.getTime();
  const mark = known === undefined ? Number.NEGATIVE_INFINITY : known.at.getTime();
  if (known !== undefined && at < mark) return { verdict: 'superseded' };
  if (known !== undefined && at === mark) {
    if (known.state === 'done') return { verdict: 'done' };
    // While it runs elsewhere, that run decides; only after a crash or a failure do the attempts count, unless an operator allowed one.
    if (held) return { verdict: 'held' };
    if (known.attempt >= asked.attempts && known.state !== 'reopened') return { verdict: 'exhausted' };
    return { verdict: 'claim', attempt: known.attempt + 1 };
  }
  if (at > nowMs) return { verdict: 'early', earlyMs: at - nowMs };
  return held ? { verdict: 'held' } : { verdict: 'claim', attempt: 1 };
}

/**
 * Scheduled times for plain intervals: the start of the current slot of `ms` milliseconds, aligned to the epoch, so that every
 * replica names the same instant whenever it started.
 *
 * @throws OptionError unless `ms` is a positive whole number.
 * @example
 * setInterval(() => void solo.run('poll', poll, { occurrence: intervalOccurrence(60_000) }), 60_000);
 */
export function intervalOccurrence(ms: number): (now?: Date) => Date {
  if (!Number.isSafeInteger(ms) || ms < 1) {
    throw new OptionError(`intervalOccurrence(${ms}): the interval is a positive whole number of milliseconds.`);
  }
  return (now = new Date()) => new Date(Math.floor(now.getTime() / ms) * ms);
}
