// @ts-check
// Tables, for a terminal and for Markdown.

import { isReached, goals } from './goals.js';
import { compare } from './result.js';

/** @import { Group } from './result.js' */

/** @typedef {{ readonly head: readonly string[], readonly rows: readonly (readonly string[])[] }} Table The first column is text. */

/**
 * What was measured in a row of the benchmark.
 *
 * @param {Group} group
 * @returns {Table}
 */
export function figuresOf(group) {
  const { floor, lines, heading, unit } = group;
  const further = [...new Set(lines.flatMap(({ also = {} }) => Object.keys(also)))];
  const nameOfFloor = lines.find(({ role }) => role === 'floor') === undefined ? floor : 'floor';
  return {
    head: [...['', `${heading}, ${unit}`], ...(floor === undefined ? [] : [`÷ ${nameOfFloor}`, 'min – max']), ...further, 'n'],
    rows: lines.map(({ id, name, role, value, count, also = {} }) => {
      const ratio = floor === undefined ? undefined : compare(group, id, floor);
      return [
        role === 'floor' ? `${name} (floor)` : name,
        figure(value),
        ...(ratio === undefined ? [] : [factor(ratio.median), `${factor(ratio.min)} – ${factor(ratio.max)}`]),
        ...further.map((column) => (also[column] === undefined ? '' : figure(also[column]))),
        count.toLocaleString('en'),
      ];
    }),
  };
}

/**
 * What was to be reached, and whether it was.
 *
 * @param {readonly Group[]} groups
 * @returns {Table}
 */
export function goalsOf(groups) {
  return {
    head: ['goal', 'row', 'measured', ''],
    rows: goals.flatMap((goal) => {
      const group = groups.find(({ row }) => row === goal.row);
      if (group === undefined) return [];
      return [[goal.says, goal.row, figure(goal.measured(group)), isReached(goal, group) ? '✓' : '✗']];
    }),
  };
}

/** @param {Table} table */
export function forTerminal({ head, rows }) {
  const plain = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('`', '')));
  const widths = head.map((_, column) => Math.max(...plain.map((row) => (row[column] ?? '').length)));
  const lines = plain.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '─'.repeat(width)).join('──'));
  return lines.join('\n');
}

/** @param {Table} table */
export function forMarkdown({ head, rows }) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map((_, column) => (column === 0 ? '---' : '---:')).join('|')}|`, ...rows.map(line)].join('\n');
}

/** Three digits are as many as mean something. @param {number} value */
export function figure(value) {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en');
  return value.toPrecision(value < 1 ? 2 : 3);
}

/** @param {number} value */
export function factor(value) {
  if (!Number.isFinite(value)) return '–';
  return value >= 100
    ? Math.round(value).toLocaleString('en')
    : value >= 10
      ? value.toFixed(1)
      : value < 0.1
        ? value.toPrecision(2)
        : value.toFixed(2);
}
