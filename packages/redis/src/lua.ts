import { createHash } from 'node:crypto';
import { MOST_RUNS } from '@solorun/core/server';

/*
 * One hash per name. Its fields:
 *   owner, by (host, process id and label, as JSON), fence
 *   since, lease, until          of the last acquisition, in µs of the server's clock (lease in ms); no `until` once it is released
 *   mark                         the high-water mark of occurrences: instant in ms, state, attempt
 *   claim                        what that acquisition found for a mark, if it moved it, or '-' for none: what undoes it
 *   keep                         the owner whose run is to be kept though it claimed nothing
 *   ok, took, error              the last success in µs, the last duration in µs, the last failure
 *   schedule, plan, next         the digest of the schedule, the schedule as JSON, the instant after the last one that was claimed, in ms
 *   known                        the first acquisition, in µs
 *   ran, ranby                   the last run that is over: outcome, start in µs, what `took` was then (or '-'), and the end in µs (or '-') if it
 *                                was lost; and its `by`
 *   runs, run:0 … run:49         how many runs were kept, and the last of them, each as JSON
 *   paused                       the end of the pause in µs, and who paused it and why, as JSON
 *
 * The hashes never expire: a fence only grows, and what policies of the kind volatile-* throw away is only what expires.
 * Lua's numbers are doubles: µs since 1970 are exact in them until the year 2255, in what the server makes of them for a command
 * ('%.17g') and in what it answers. Putting them into texts by '..' would round them, from 14 digits on: a duration may have that many
 * after three years.
 * A full server lets a script go on once it has written something. So holders, who must not suffer for that, begin with a removal,
 * which needs no memory.
 * The first read is a pcall, so that a key of another program fails its own question alone and not those in the same script.
 * The words are one JSON: as words of their own they would cost the client more than the server saves.
 *
 * The version before this one knows no field from `keep` on, except `ok`, `took`, `error` and `schedule`. It shares the hashes while a
 * fleet is replaced, and leaves the fields that it does not know as they are. So each of them says by itself whether it still counts: `keep`
 * names its owner, `ran` the `took` that it was written with, and a `next` that is not after the mark is of the past.
 */

/** A question to the server: one script, run atomically, for as many names as are asked about at once. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

type Scalar = string | number | boolean;

/** An argument beside the keys. */
export type Word = Scalar | readonly Scalar[];

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/** The words of a command for these fields. */
export function quoted(fields: readonly string[]): string {
  return fields.map((field) => `'${field}'`).join(', ');
}

export const now = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
`;

/*
 * Parts of scripts, as text: a function would cost each call of a script something, also those that have no use for it.
 */

/** When a pause ends, in µs; 0 if there is none. */
export function pauseEnds(paused: string): string {
  return `(${paused} and tonumber(string.match(${paused}, '^%d+')) or 0)`;
}

/** The fields that tell of a run, as they are read into `is`. */
export const RUN_FIELDS: string = quoted(['owner', 'until', 'since', 'claim', 'mark', 'by', 'keep']);

/** Whether that run is kept. One that claimed an occurrence always is, also if the version before this one began it. */
export const isKept = `(is[4] and is[4] ~= '' or is[7] and is[7] == is[1])`;

/**
 * Makes `kept`, the fields that keep that run, names and values in turn; the fourth is its text.
 *
 * @param ended in µs, or false where nobody knows
 * @param why false unless it failed
 */
export function keeps(outcome: string, ended: string, why: string): string {
  return `
local of = redis.call('HMGET', key, 'fence', 'runs')
local at, attempt
if is[4] and is[4] ~= '' then at, attempt = string.match(is[5] or '', '^(%S+) %S+ (%S+)$') end
local count = tonumber(of[2]) or 0
local kept = { 'runs', count + 1, 'run:' .. count % ${MOST_RUNS}, table.concat({
  '{"fence":', of[1] or 0, ',"since":', is[3] or 0, ',"ended":', ${ended} and string.format('%.0f', ${ended}) or 'null',
  ',"outcome":"', ${outcome}, '","at":', at or 'null', ',"attempt":', attempt or 1, ',"by":', is[6] or '{}',
  ',"error":', ${why} and cjson.encode(${why}) or 'null', '}' }) }
`;
}

/**
 * Makes `left`, the fields that tell of a run of `key` that nobody has ended, though its lease is over, names and values in turn; the
 * eighth is the text of the run if it is kept. A lease that is over by observation alone seems to end in the future: nobody knows when it
 * was.
 */
export const lost: string = `
local is = redis.call('HMGET', key, ${RUN_FIELDS}, 'took')
local ended = tonumber(is[2]) or 0
if ended > now then ended = false end
local ran = 'lost ' .. (is[3] or 0) .. ' ' .. (is[8] or '-') .. ' ' .. (ended and is[2] or '-')
local left = { 'ran', ran, 'ranby', is[6] or '{}' }
if ${isKept} then
  ${keeps("'lost'", 'ended', 'false')}
  left[5], left[6], left[7], left[8] = unpack(kept)
end
`;
