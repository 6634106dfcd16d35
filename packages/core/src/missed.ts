import type { Grant, OccurrenceRequest, OccurrenceState } from './provider.ts';

/** A scheduled time that has passed without a completed run. */
export interface MissedOccurrence extends Omit<OccurrenceState, 'state'> {
  /** `unclaimed`: no replica asked for it, so no run of it was started; its `attempt` is 0. */
  readonly state: OccurrenceState['state'] | 'unclaimed';
}

/** The scheduled times after one and before another, the latest first. */
export type TimesBetween = (after: Date, before: Date) => Iterable<Date>;

/** A fleet that was down for a year tells of so many, the latest. */
const MOST_TOLD = 100;

const nothing: readonly MissedOccurrence[] = [];

/** Lists the scheduled times that were missed before the one that was claimed now, as far as the record before that shows, the oldest first. */
export function missedBefore(
  claimed: OccurrenceRequest,
  grant: Grant,
  between: TimesBetween | undefined,
): readonly MissedOccurrence[] {
  const { previous } = grant;
  if (previous === undefined || previous.at >= claimed.at) return nothing;
  const unclaimed = unclaimedBefore(claimed, grant, between).map((at) => ({ at, state: 'unclaimed' as const, attempt: 0 }));
  return previous.state === 'done' ? unclaimed : [previous, ...unclaimed];
}

function unclaimedBefore(
  { at, schedule, scheduleHash }: OccurrenceRequest,
  { previous, previousNextDueAt: due, previousScheduleHash }: Grant,
  between: TimesBetween | undefined,
): readonly Date[] {
  // The instants of a schedule that was replaced meanwhile were never to come; and of a job without one nobody knows when it was due.
  if (previous === undefined || scheduleHash === undefined || previousScheduleHash !== scheduleHash) return [];
  // The usual case, and to list the times of a long schedule takes a while.
  if (due !== undefined && due >= at) return [];
  const everyMs = schedule !== undefined && 'everyMs' in schedule ? schedule.everyMs : undefined;
  const times = between?.(previous.at, at) ?? (everyMs === undefined ? undefined : steps(previous.at, at, everyMs));
  if (times !== undefined) return latest(times).toReversed();
  // A replica of an older version claimed the previous one, and left what was due before that.
  return due === undefined || due <= previous.at ? [] : [due];
}

function* steps(after: Date, before: Date, everyMs: number): Generator<Date> {
  for (let ms = before.getTime() - everyMs; ms > after.getTime(); ms -= everyMs) yield new Date(ms);
}

function latest(times: Iterable<Date>): readonly Date[] {
  const found: Date[] = [];
  for (const at of times) if (found.push(at) >= MOST_TOLD) break;
  return found;
}
