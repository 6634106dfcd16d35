import { quote } from './errors.ts';
import type { Events } from './events.ts';
import type { Terms } from './settle.ts';
import type { Holder } from './provider.ts';

/** Finds out that two schedules claim one name in turns: each would run only when the other one has not come later. */
export interface Schedules {
  /** The record of the name showed this schedule when the provider was asked. */
  found(terms: Terms, scheduleHash: string | undefined, holder: Holder | undefined): void;
  /** The name is claimed for the schedule of the terms, so the record shows that one from now on. */
  claimed(terms: Terms): void;
}

/** Names that are remembered. A program has as many as it has schedules. */
const MOST = 10_000;

export function createSchedules(provider: string, events: Events): Schedules {
  /** By full name: the schedules of ours that the record has shown. A deployment replaces one schedule by another just once. */
  const ours = new Map<string, Set<string>>();
  const told = new Set<string>();

  function claimed({ fullName, occurrence }: Terms): void {
    if (occurrence?.scheduleHash === undefined) return;
    if (ours.size >= MOST) ours.clear();
    const hashes = ours.get(fullName) ?? new Set();
    ours.set(fullName, hashes.add(occurrence.scheduleHash));
  }

  return {
    claimed,
    found(terms, otherScheduleHash, holder) {
      const { name, fullName, occurrence } = terms;
      const scheduleHash = occurrence?.scheduleHash;
      if (scheduleHash === undefined || otherScheduleHash === undefined) return;
      if (otherScheduleHash === scheduleHash) return claimed(terms);
      if (ours.get(fullName)?.has(scheduleHash) !== true) return;
      events.emit('scheduleConflict', { name, provider, scheduleHash, otherScheduleHash, holder });
      if (told.has(fullName)) return;
      told.add(fullName);
      const who = holder === undefined ? '' : ` by ${holder.host} (pid ${holder.pid})`;
      process.emitWarning(
        `${quote(name)} is claimed${who} for another schedule than the one here (digests ${otherScheduleHash} and ${scheduleHash}). ` +
          'Give each schedule a name of its own; the replicas of one schedule must agree on its expression and its time zone.',
        { code: 'SOLORUN_SCHEDULE_CONFLICT' },
      );
    },
  };
}
