import { Ending } from './exit.ts';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy;
/** Timers count no further than about 24 days and 20 hours. */
const LONGEST_TIMED_MS = 2 ** 31 - 1;

/**
 * A time as people write it, `90s` or `1h30m`, in ms.
 *
 * @param longestMs the longest that is allowed; as long as a timer can count, unless given
 * @throws Ending with an example
 */
export function parseDuration(text: string, option: string, longestMs: number = LONGEST_TIMED_MS): number {
  const wrong = (why: string): Ending =>
    new Ending('usage', `${option} ${JSON.stringify(text)}: ${why}. Write for example 500ms, 90s, 5m, 1h30m or 2d.`);
  if (/^\d+(?:\.\d+)?$/.test(text)) throw wrong('a time needs its unit');
  let ms = 0;
  let end = 0;
  let last = Number.POSITIVE_INFINITY;
  for (const [part, amount, unit] of text.matchAll(PART)) {
    const each = UNITS[unit!]!;
    if (each >= last) throw wrong('units go from the largest to the smallest');
    last = each;
    ms += Number(amount) * each;
    end += part.length;
  }
  if (end === 0 || end !== text.length) throw wrong('that is no time');
  if (ms > longestMs) throw wrong(`${Math.floor(longestMs / UNITS['d']!)} days are the longest`);
  return Math.round(ms);
}

/** How long something takes or took, in the two largest units: `1h 30m`, `41s`, `12ms`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 10_000) return `${Math.round(ms / 100) / 10}s`;
  let rest = Math.round(ms / 1_000);
  const parts: string[] = [];
  for (const [unit, seconds] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).join(' ');
}
