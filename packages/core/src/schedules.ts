import { describeMs, describeProcess, quote } from './errors.ts';
import type { Events } from './events.ts';
import type { Terms } from './settle.ts';
import type { Holder, Identity, Schedule } from './provider.ts';

/** The schedule that a name was claimed for, as its record shows it. */
interface Found {
  readonly scheduleHash?: string | undefined;
  readonly schedule?: Schedule | undefined;
  readonly holder?: Holder | undefined;
}

/** Finds out that two schedules claim one name in turns: each would run only when the other one has not come later. */
export interface Schedules {
  /** The record of the name showed this schedule when the provider was asked. */
  found(terms: Terms, found: Found): void;
  /** The name is claimed for the schedule of the terms, so the record shows that one from now on. */
  claimed(terms: Terms): void;
}

/** Names that are remembered. A program has as many as it has schedules. */
const MOST = 10_000;

/** @param here the process that asks */
export function createSchedules(provider: string, here: Identity, events: Events): Schedules {
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
    found(terms, { scheduleHash: otherScheduleHash, schedule: otherSchedule, holder }) {
      const { name, fullName, occurrence } = terms;
      const { scheduleHash, schedule } = occurrence ?? {};
      if (scheduleHash === undefined || otherScheduleHash === undefined) return;
      if (otherScheduleHash === scheduleHash) return claimed(terms);
      if (ours.get(fullName)?.has(scheduleHash) !== true) return;
      events.emit('scheduleConflict', { name, provider, scheduleHash, schedule, otherScheduleHash, otherSchedule, holder, here });
      if (told.has(fullName)) return;
      told.add(fullName);
      const by = holder === undefined ? '' : ` by ${describeProcess(holder)}`;
      process.emitWarning(
        `${quote(name)} is claimed${by} for another schedule, ${scheduleWords(otherSchedule, otherScheduleHash)}, than the one here, ` +
          `${scheduleWords(schedule, scheduleHash)} (${describeProcess(here)}). Give each schedule a name of its own; the replicas of one ` +
          'schedule must agree on its expression and its time zone.',
        { code: 'SOLORUN_SCHEDULE_CONFLICT' },
      );
    },
  };
}

/** A schedule as people wrote it; its digest, where that is all that is known. */
export function scheduleWords(schedule: Schedule | undefined, hash: string): string {
  if (schedule === undefined) return `digest ${hash}`;
  if ('everyMs' in schedule) return `every ${describeMs(schedule.everyMs)}`;
  return `${quote(schedule.expression)}${schedule.timezone === undefined ? '' : ` in ${schedule.timezone}`}`;
}
