import { createHash } from 'node:crypto';
import { intervalOccurrence, type Schedule } from '@solorun/core';
import { Ending } from './exit.ts';
import { plain } from './show.ts';

/** The scheduled time that a run is for. */
export interface Slot {
  readonly at: Date;
  /** The one after it. */
  readonly nextDueAt: Date | undefined;
  readonly schedule: Schedule;
  /** Tells schedules apart in the record. */
  readonly scheduleHash: string;
}

/**
 * The latest scheduled time of a cron expression that has come, so that all processes that are started for it, however late, name the same.
 *
 * @throws Ending
 */
export async function cronSlot(expression: string, timezone: string | undefined, now: Date): Promise<Slot> {
  const { cronInstant, nextInstant } = await import('./cron.ts');
  const zone = timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  checkTimezone(zone);
  let at: Date | undefined;
  try {
    at = cronInstant(expression, zone, now);
  } catch (error) {
    throw new Ending(
      'usage',
      `--once-per ${JSON.stringify(plain(expression))}: ${plain((error as Error).message)}. ` +
        "Write five or six fields, for example '0 3 * * *' (each day at 3:00) or '*/5 * * * *' (each five minutes).",
    );
  }
  if (at === undefined) throw new Ending('usage', `--once-per ${JSON.stringify(plain(expression))} has never come yet.`);
  const text = expression.trim().replaceAll(/\s+/gu, ' ');
  return {
    at,
    nextDueAt: nextInstant(expression, zone, now),
    schedule: { expression: text, timezone: zone },
    scheduleHash: digest(`${text} ${zone}`),
  };
}

/** The start of the current slot, counted from 1970 so that all machines agree. */
export function intervalSlot(ms: number, now: Date): Slot {
  if (ms < 1) throw new Ending('usage', '--interval is at least 1ms.');
  const at = intervalOccurrence(ms)(now);
  const schedule = { everyMs: ms };
  return { at, nextDueAt: new Date(at.getTime() + ms), schedule, scheduleHash: digest(`every ${ms} ms`) };
}

function checkTimezone(zone: string): void {
  try {
    Intl.DateTimeFormat('en', { timeZone: zone });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Ending('usage', `--timezone ${JSON.stringify(plain(zone))} is not known. Write for example UTC or Europe/Berlin.`);
  }
}

function digest(schedule: string): string {
  return createHash('sha256').update(schedule).digest('hex').slice(0, 16);
}
