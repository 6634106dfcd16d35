import { describe, expect, it } from 'vitest';
import { cronInstant } from '../src/cron.ts';

const MINUTE_MS = 60_000;

/** From half past midnight or earlier, some hours over the change of the clock; in UTC. */
const nights = {
  'Europe/Berlin': { spring: '2026-03-28T22:30Z', autumn: '2026-10-24T21:30Z' },
  'America/Havana': { spring: '2026-03-08T03:30Z', autumn: '2026-11-01T02:30Z' },
  'Australia/Lord_Howe': { spring: '2026-10-03T13:00Z', autumn: '2026-04-04T12:30Z' },
} as const;

interface Zone {
  readonly zone: keyof typeof nights;
  /** What the expression is, the expression, and its instants in spring and in autumn. */
  readonly table: readonly [what: string, expression: string, spring: string, autumn: string][];
}

/** The local times of a night, each once; those after the change of the clock with a prime. */
function instantsOf(zone: keyof typeof nights, season: 'spring' | 'autumn', expression: string): string {
  const format = new Intl.DateTimeFormat('sv', { timeZone: zone, timeStyle: 'short' });
  const offset = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  const offsetAt = (at: Date): string => offset.formatToParts(at).find(({ type }) => type === 'timeZoneName')!.value;
  const from = new Date(nights[zone][season]);
  const seen = new Set<number>();
  for (let minute = 0; minute <= 5.5 * 60; minute += 15) {
    const at = cronInstant(expression, zone, new Date(from.getTime() + minute * MINUTE_MS))!;
    if (at > from) seen.add(at.getTime());
  }
  return [...seen].map((at) => `${format.format(at)}${offsetAt(new Date(at)) === offsetAt(from) ? '' : "'"}`).join(' ');
}

describe('the instants of a cron expression in nights in which the clock is changed', () => {
  describe.each<Zone>([
    // From 2:00 to 3:00, and from 3:00 back to 2:00.
    {
      zone: 'Europe/Berlin',
      table: [
        ['a time', '30 2 * * *', "03:00'", '02:30'],
        ['the time of the change', '0 3 * * *', "03:00'", "03:00'"],
        ['a list of minutes', '0,30 2 * * *', "03:00'", '02:00 02:30'],
        ['a list of hours', '15 1,2,3 * * *', "01:15 03:00' 03:15'", "01:15 02:15 03:15'"],
        ['a range of hours', '0 1-4 * * *', "01:00 03:00' 04:00'", "01:00 02:00 03:00' 04:00'"],
        ['a step of a range', '0-40/20 2 * * *', "03:00'", '02:00 02:20 02:40'],
        ['a range of all hours', '30 0-23 * * *', "00:30 01:30 03:00' 03:30' 04:30' 05:30'", "00:30 01:30 02:30 03:30'"],
        ['a star for the minute', '*/30 2 * * *', '', "02:00 02:30 02:00' 02:30'"],
        ['a star for the hour', '30 * * * *', "00:30 01:30 03:30' 04:30' 05:30'", "00:30 01:30 02:30 02:30' 03:30'"],
        ['a step of the hour', '0 */2 * * *', "00:00 04:00' 06:00'", "00:00 02:00 02:00' 04:00'"],
        ['each hour', '@hourly', "00:00 01:00 03:00' 04:00' 05:00' 06:00'", "00:00 01:00 02:00 02:00' 03:00' 04:00'"],
        ['each day', '@daily', '00:00', '00:00'],
        ['seconds', '0 30 2 * * *', "03:00'", '02:30'],
        ['a step of the second', '*/20 30 2 * * *', "03:00'", '02:30 02:30'],
        ['a day', '30 2 29 3 *', "03:00'", ''],
      ],
    },
    // From 0:00 to 1:00, and from 1:00 back to 0:00.
    {
      zone: 'America/Havana',
      table: [
        ['a time', '0 0 * * *', "01:00'", '00:00'],
        ['each day', '@daily', "01:00'", '00:00'],
        ['a list of minutes', '0,30 0 * * *', "01:00'", '00:00 00:30'],
        ['a list of hours', '0 0,1,2 * * *', "01:00' 02:00'", "00:00 01:00' 02:00'"],
        ['a step of a range', '0-45/15 0 * * *', "01:00'", '00:00 00:15 00:30 00:45'],
        ['a star for the minute', '*/30 0 * * *', '', "00:00 00:30 00:00' 00:30'"],
        ['a star for the hour', '15 * * * *', "23:15 01:15' 02:15' 03:15' 04:15'", "23:15 00:15 00:15' 01:15' 02:15'"],
        ['a day', '0 0 8 3 *', "01:00'", ''],
      ],
    },
    // Half an hour: from 2:00 to 2:30, and from 2:00 back to 1:30.
    {
      zone: 'Australia/Lord_Howe',
      table: [
        ['a time', '15 2 * * *', "02:30'", "02:15'"],
        ['a time of the repeated half hour', '45 1 * * *', '01:45', '01:45'],
        ['a list of minutes', '0,15,45 2 * * *', "02:30' 02:45'", "02:00' 02:15' 02:45'"],
        ['a list of hours', '45 1,2 * * *', "01:45 02:45'", "01:45 02:45'"],
        ['a range of hours', '0 1-3 * * *', "01:00 02:30' 03:00'", "01:00 02:00' 03:00'"],
        ['a step of a range', '0-45/15 1 * * *', '01:00 01:15 01:30 01:45', '01:00 01:15 01:30 01:45'],
        ['a star for the minute', '*/15 1 * * *', '01:00 01:15 01:30 01:45', "01:00 01:15 01:30 01:45 01:30' 01:45'"],
        ['a star for the hour', '15 * * * *', "00:15 01:15 03:15' 04:15' 05:15'", "00:15 01:15 02:15' 03:15' 04:15'"],
      ],
    },
  ])('in $zone', ({ zone, table }) => {
    it.each(table)('%s: %s', (_, expression, spring, autumn) => {
      expect(instantsOf(zone, 'spring', expression), 'spring').toBe(spring);
      expect(instantsOf(zone, 'autumn', expression), 'autumn').toBe(autumn);
    });
  });

  it('are those of the new time at once when a clock is corrected: a day that Samoa left out is not caught up with', () => {
    const instant = (now: string): string | undefined => cronInstant('0 12 30 12 *', 'Pacific/Apia', new Date(now))?.toISOString();
    expect(instant('2011-12-31T12:00:00Z')).toBe('2010-12-30T22:00:00.000Z');
    expect(instant('2012-12-31T12:00:00Z')).toBe('2012-12-29T22:00:00.000Z');
  });

  it('are found however long ago they were, and there are none of a day that does not exist', () => {
    const now = new Date('2026-10-25T01:30:00Z');
    expect(cronInstant('30 2 29 2 *', 'Europe/Berlin', now)?.toISOString()).toBe('2024-02-29T01:30:00.000Z');
    expect(cronInstant('30 2 30 2 *', 'Europe/Berlin', now)).toBeUndefined();
  });
});
