import type { Grant, OccurrenceRequest, OccurrenceState } from './provider.ts';

/** A scheduled time that has passed without a completed run. */
export interface MissedOccurrence extends Omit<OccurrenceState, 'state'> {
  /** `unclaimed`: no replica asked for it, so no run of it was started; its `attempt` is 0. */
  readonly state: OccurrenceState['state'] | 'unclaimed';
}

export interface Missed {
  /** The first one, if there are several. */
  readonly occurrence: MissedOccurrence;
  /** How many scheduled times were missed, this one included: exact for a schedule of `everyMs`; of others at least so many. */
  readonly count: number;
}

const nothing: readonly Missed[] = [];

/** Lists the scheduled times that were missed before the one that was claimed now, as far as the record before that shows. */
export function missedBefore(claimed: OccurrenceRequest, grant: Grant): readonly Missed[] {
  const { previous } = grant;
  if (previous === undefined || previous.at >= claimed.at) return nothing;
  const unclaimed = unclaimedBefore(claimed, grant);
  if (previous.state === 'done') return unclaimed;
  return [{ occurrence: previous, count: 1 }, ...unclaimed];
}

function unclaimedBefore({ at, schedule, scheduleHash }: OccurrenceRequest, grant: Grant): readonly Missed[] {
  const { previous, previousNextDueAt: due, previousScheduleHash } = grant;
  // The instants of a schedule that was replaced meanwhile were never to come.
  if (due === undefined || due >= at || previousScheduleHash !== scheduleHash) return nothing;
  // A replica of an older version claimed the previous one, and left what was due before that.
  if (previous !== undefined && due <= previous.at) return nothing;
  const everyMs = schedule !== undefined && 'everyMs' in schedule ? schedule.everyMs : undefined;
  const count = everyMs === undefined ? 1 : Math.ceil((at.getTime() - due.getTime()) / everyMs);
  return [{ occurrence: { at: due, state: 'unclaimed', attempt: 0 }, count }];
}
