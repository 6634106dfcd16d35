// @ts-check
// The dozen lines that a reader of the README wants. They stand between markers in results.md, and are copied from there.

import { readFileSync, writeFileSync } from 'node:fs';
import { compare, lineOf } from './result.js';
import { factor, figure, forMarkdown } from './table.js';

/** @import { Group, Line } from './result.js' */

const BEGIN = '<!-- bench:headline -->';
const END = '<!-- /bench:headline -->';
const README = new URL('../../README.md', import.meta.url);
export const RESULTS = new URL('../results.md', import.meta.url);

/** In the words of a reader: what is measured, in which row, and which line is ours. @type {readonly [string, string, string][]} */
const shown = [
  ['a session lock on Postgres', 'advisory', 'ours'],
  ['64 session locks at once', 'advisory-64', 'ours'],
  ['a lease row in Postgres', 'lease', 'ours'],
  ['64 lease rows at once', 'lease-64', 'ours'],
  ['a lock file', 'lockfile', 'ours'],
  ['a lock in memory', 'memory', 'ours'],
  ['hand-off to another process, session lock', 'handoff-advisory', 'ours'],
  ['hand-off to another process, lease row', 'handoff-lease', 'ours'],
  ['hand-off to another process, lock file', 'handoff-lockfile', 'ours'],
  ['the holder is killed, session lock', 'failover', 'ours'],
  ['200 wait for one session lock', 'waiters', 'advisory'],
  ['200 wait for one lease row', 'waiters', 'lease'],
  ['1,000 session locks renewed', 'renew-advisory', 'ours'],
  ['1,000 lease rows renewed', 'renew-lease', 'ours'],
];

/** @param {readonly Group[]} groups */
export function headline(groups) {
  const rows = shown.flatMap(([what, row, id]) => {
    const group = groups.find((one) => one.row === row);
    if (group === undefined) return [];
    const { unit, lines } = group;
    const ours = lineOf(group, id);
    const floor = lines.find(({ role }) => role === 'floor');
    const peer = bestPeer(group);
    return [
      [
        what,
        `**${withUnit(ours.value, unit)}**`,
        floor === undefined ? '' : withUnit(floor.value, unit),
        floor === undefined ? '' : `× ${factor(compare(group, id, floor.id).median)}`,
        peer === undefined ? '' : `${withUnit(peer.value, unit)} (${peer.id})`,
        peer === undefined ? '' : advantage(ours, peer, unit),
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

/** @param {Group} group */
function bestPeer({ lines, unit }) {
  const peers = lines.filter(({ role }) => role === 'peer').sort((a, b) => a.value - b.value);
  return isSpeed(unit) ? peers.at(-1) : peers[0];
}

/** @param {Line} ours @param {Line} peer @param {string} unit */
function advantage(ours, peer, unit) {
  if (ours.value === 0) return '';
  const times = isSpeed(unit) ? ours.value / peer.value : peer.value / ours.value;
  const [better, worse] = unit.startsWith('statements') ? ['less', 'more'] : ['faster', 'slower'];
  return times >= 1 ? `${factor(times)} × ${better}` : `${factor(1 / times)} × ${worse}`;
}

/** @param {string} unit */
function isSpeed(unit) {
  return unit === 'cycles/s';
}

/** @param {number} value @param {string} unit */
function withUnit(value, unit) {
  return `${figure(value)} ${unit.replace('cycles/s', '/s').replace('statements/s', 'statements/s')}`;
}
