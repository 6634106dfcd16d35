import { Cron } from 'croner';

/*
 * The instants of a cron expression in a time zone, also in nights in which its clock is changed. The rules are those of Debian's cron
 * (cron(8)). A job at fixed times does not lose a time that is skipped, and does not run again at a time that comes twice. A job whose
 * minute or hour begins with a star follows the clock as it is.
 *
 * The result depends on expression, zone and now alone, so all machines name the same instant.
 */

/** Ms since 1970, of an instant or of a local time read as UTC. */
type Ms = number;

const HOUR_MS: Ms = 3_600_000;
/** A change by as much or more corrects the clock, says cron(8): no time is made up for, and none is left out. */
const CORRECTION_MS: Ms = 3 * HOUR_MS;
/** Two changes of one zone are further apart; Ramadan, for which Morocco's clock is changed, takes four weeks. */
const STEP_MS: Ms = 7 * 24 * HOUR_MS;

/**
 * The latest instant of the expression that has come. Times that are skipped come together, when the clock is changed.
 *
 * @param expression five fields, or six with seconds first
 * @returns undefined: there is none
 * @throws Error if it is no expression; RangeError if it is no zone
 */
export function cronInstant(expression: string, zone: string, now: Date): Date | undefined {
  const localBefore = matcher(expression);
  const follows = followsTheClock(expression);
  const offsetAt = offsetsOf(zone);
  for (let until: Ms = now.getTime(); ;) {
    const offset = offsetAt(until);
    const local = localBefore(until + offset);
    if (local === undefined) return undefined;
    const change = latestChange(offsetAt, local - offset - CORRECTION_MS, until);
    if (change === undefined) return new Date(local - offset);
    const { at, before } = change;
    // A time of before the change is counted by the offset of before. So is a time that comes twice, unless the job follows the clock.
    const first = at + (follows || Math.abs(offset - before) >= CORRECTION_MS ? offset : before);
    if (local >= first) return new Date(Math.max(at, local - offset));
    until = at - 1;
  }
}

/**
 * The first instant after `now`. In a night in which the clock is changed it may be some hours off what `cronInstant` will say: it is
 * shown to people, and decides nothing.
 */
export function nextInstant(expression: string, zone: string, now: Date): Date | undefined {
  return new Cron(expression, { timezone: zone, paused: true, mode: '5-or-6-parts' }).nextRun(now) ?? undefined;
}

/** The latest local time of the expression up to one, that one included, in a zone whose clock is never changed. */
function matcher(expression: string): (local: Ms) => Ms | undefined {
  const cron = new Cron(expression, { timezone: 'UTC', paused: true, mode: '5-or-6-parts' });
  // croner finds runs before the reference, so the reference is 1 ms later.
  return (local) => cron.previousRuns(1, new Date(local + 1))[0]?.getTime();
}

/** Whether minute or hour is a wildcard of cron(8). As in Debian's entry.c, the first character decides: a step of a range is none. */
function followsTheClock(expression: string): boolean {
  const fields = expression.trim().split(/\s+/u);
  if (fields.length === 1) return fields[0]!.toLowerCase() === '@hourly';
  const [minute, hour] = fields.length === 6 ? fields.slice(1) : fields;
  return [minute, hour].some((field) => /^[*?]/.test(field!));
}

/** How far ahead of UTC local time is at an instant. */
type Offsets = (at: Ms) => Ms;

function offsetsOf(zone: string): Offsets {
  const format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  return (at) => {
    const { value } = format.formatToParts(at).find(({ type }) => type === 'timeZoneName')!;
    // GMT, GMT+02:00, and GMT-00:44:30 from before there were zones.
    const [, sign, hours, minutes, seconds = '0'] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(value) ?? [];
    if (sign === undefined) return 0;
    const ms = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
    return sign === '-' ? -ms : ms;
  };
}

/** A change of the clock: the first instant of the new time, and the offset before it. */
interface Change {
  readonly at: Ms;
  readonly before: Ms;
}

/** The last change after `from`, up to `until`. */
function latestChange(offsetAt: Offsets, from: Ms, until: Ms): Change | undefined {
  const offset = offsetAt(until);
  for (let at = until; at > from;) {
    const earlier = Math.max(from, at - STEP_MS);
    if (offsetAt(earlier) !== offset) return { at: firstWith(offsetAt, offset, earlier, at), before: offsetAt(earlier) };
    at = earlier;
  }
  return undefined;
}

/** The first instant with this offset, between one at which it is another and one at which it is this. */
function firstWith(offsetAt: Offsets, offset: Ms, other: Ms, same: Ms): Ms {
  let [low, high] = [other, same];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(middle) === offset) high = middle;
    else low = middle;
  }
  return high;
}
