// @ts-check
// The dozen lines that a reader of the README wants. They stand between markers in results.md, and are copied from there.

import { readFileSync, writeFileSync } from 'node:fs';
import { compare, lineOf } from './result.js';
import { ratioOf } from './statistics.js';
import { factor, figure, forMarkdown } from './table.js';

/** @import { Group, Line } from './result.js' */

const BEGIN = '<!-- bench:headline -->';
const END = '<!-- /bench:headline -->';
const README = new URL('../../README.md', import.meta.url);
export const RESULTS = new URL('../results.md', import.meta.url);

/** The unit in which more is better. */
const PER_SECOND = 'cycles/s';

/** In the words of a reader: what is measured, in which row, and which line is ours. @type {readonly [string, string, string][]} */
const shown = [
  ['a session lock on Postgres', 'advisory', 'ours'],
  ['64 session locks at once', 'advisory-64', 'ours'],
  ['a lease row in Postgres', 'lease', 'ours'],
  ['64 lease rows at once', 'lease-64', 'ours'],
  ['a lock on Redis', 'redis', 'ours'],
  ['64 locks on Redis at once', 'redis-64', 'ours'],
  ['a lock file', 'lockfile', 'ours'],
  ['a lock in memory', 'memory', 'ours'],
  ['hand-off to another process, session lock', 'handoff-advisory', 'ours'],
  ['hand-off to another process, lease row', 'handoff-lease', 'ours'],
  ['hand-off to another process, Redis', 'handoff-redis', 'ours'],
  ['hand-off to another process, lock file', 'handoff-lockfile', 'ours'],
  ['the holder is killed, session lock', 'failover', 'ours'],
  ['200 wait for one session lock', 'waiters', 'advisory'],
  ['200 wait for one lease row', 'waiters', 'lease'],
  ['200 wait for one lock on Redis', 'waiters-redis', 'redis'],
  ['1,000 session locks renewed', 'renew-advisory', 'ours'],
  ['1,000 lease rows renewed', 'renew-lease', 'ours'],
  ['1,000 locks on Redis renewed', 'renew-redis', 'ours'],
];

/** @param {readonly Group[]} groups */
export function headline(groups) {
  const rows = shown.flatMap(([what, row, id]) => {
    const group = groups.find((one) => one.row === row);
    if (group === undefined) return [];
    const ours = lineOf(group, id);
    const floor = group.lines.find(({ role }) => role === 'floor');
    const peers = group.lines.filter(({ role }) => role === 'peer').sort((a, b) => 1 - advantage(a, b, group));
    // Where nothing is divided by anything, none of them is simply the best.
    const best = group.floor === undefined ? peers : peers.slice(0, 1);
    return [
      [
        what,
        `**${told(ours, group)}**`,
        floor === undefined ? '' : told(floor, group),
        floor === undefined ? '' : `× ${factor(compare(group, id, floor.id).median)}`,
        best.map((peer) => `${told(peer, group)} (${peer.id})`).join('; '),
        group.floor === undefined ? '' : best.map((peer) => inWords(advantage(ours, peer, group))).join(),
      ],
    ];
  });
  const head = ['', 'Solorun', 'by hand', 'Solorun ÷ by hand', 'best other package', 'Solorun is'];
  return `${BEGIN}\n${forMarkdown({ head, rows })}\n${END}`;
}

/** Copies the table from results.md into the README, if it has the markers. Returns whether it has. */
export function copyHeadline() {
  const between = new RegExp(`${BEGIN}[^]*${END}`);
  const table = between.exec(readFileSync(RESULTS, 'utf8'))?.[0];
  const readme = readFileSync(README, 'utf8');
  if (table === undefined) throw new Error('bench/results.md has no headline: run `npm run bench` first.');
  if (!between.test(readme)) return false;
  writeFileSync(
    README,
    readme.replace(between, () => table),
  );
  return true;
}

/**
 * How many times better one of them is, in the middle of the segments.
 *
 * @param {Line} one
 * @param {Line} other
 * @param {Group} group
 */
function advantage(one, other, { unit }) {
  return unit === PER_SECOND ? ratioOf(one.segments, other.segments).median : ratioOf(other.segments, one.segments).median;
}

/** @param {number} times */
function inWords(times) {
  return times >= 1 ? `${factor(times)} × faster` : `${factor(1 / times)} × slower`;
}

/** @param {Line} line @param {Group} group */
function told({ value, also = {} }, { unit }) {
  const sessions =
    also['sessions'] === undefined ? '' : ` on ${also['sessions'] === 1 ? '1 session' : `${figure(also['sessions'])} sessions`}`;
  return `${figure(value)} ${unit === PER_SECOND ? 'per second' : unit}${sessions}`;
}
