// @ts-check
// What we have set out to reach.

import { compare } from './result.js';

/** @import { Group } from './result.js' */

/**
 * @typedef {object} Goal
 * @property {string} row
 * @property {string} says
 * @property {number} bound
 * @property {'at most' | 'at least'} sense
 * @property {(group: Group) => number} measured
 */

/** @type {readonly Goal[]} */
export const goals = [
  atMost('advisory', '`run()` ≤ 1.25 × the raw try and unlock', 1.25, ratio('ours', 'raw')),
  atLeast('advisory-64', '64 names at once ≥ 2 × the raw pipelined client', 2, ratio('ours', 'raw')),
  atLeast('advisory-64', '64 names at once ≥ 100 × advisory-lock', 100, ratio('ours', 'advisory-lock')),
  atMost('lease', '`run()` ≤ 1.25 × the raw two statements', 1.25, ratio('ours', 'raw')),
  atLeast('lease-64', '64 names at once ≥ 10 × verrou on kysely', 10, ratio('ours', 'verrou')),
  atMost('lockfile', '`run()` ≤ 4 × a synchronous exclusive create, write and unlink', 4, ratio('ours', 'raw')),
  atMost('memory', '`run()` ≤ async-mutex `runExclusive`', 1, ratio('ours', 'async-mutex')),
];

/** @param {Goal} goal @param {Group} group */
export function isReached({ sense, bound, measured }, group) {
  return sense === 'at most' ? measured(group) <= bound : measured(group) >= bound;
}

/** @param {string} row @param {string} says @param {number} bound @param {Goal['measured']} measured @returns {Goal} */
function atMost(row, says, bound, measured) {
  return { row, says, bound, sense: 'at most', measured };
}

/** @param {string} row @param {string} says @param {number} bound @param {Goal['measured']} measured @returns {Goal} */
function atLeast(row, says, bound, measured) {
  return { row, says, bound, sense: 'at least', measured };
}

/** @param {string} of @param {string} to @returns {Goal['measured']} */
function ratio(of, to) {
  return (group) => compare(group, of, to).median;
}
