// @ts-check
// What we have set out to reach.

import { compare, lineOf } from './result.js';

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
  atMost('handoff-advisory', 'hand-off ≤ 1.5 × raw blocking', 1.5, ratio('ours', 'raw')),
  atMost('handoff-lease', 'hand-off ≤ 1.5 × raw LISTEN and NOTIFY', 1.5, ratio('ours', 'raw')),
  atMost('handoff-lockfile', 'hand-off ≤ 1.5 × a watched directory', 1.5, ratio('ours', 'raw')),
  atMost('failover', 'a killed holder is followed in ≤ 2 × the time of raw blocking', 2, ratio('ours', 'raw')),
  atMost('failover', 'a killed holder is followed within 100 ms', 100, (group) => lineOf(group, 'ours').value),
  atMost('waiters', '200 waiters, session locks: ≤ 1 statement per second', 1, (group) => lineOf(group, 'advisory').value),
  atMost('waiters', '200 waiters, session locks: ≤ 2 sessions', 2, further('advisory', 'sessions')),
  atMost('waiters', '200 waiters, lease rows: ≤ 1 statement per second', 1, (group) => lineOf(group, 'lease').value),
  atMost('waiters', '200 waiters, lease rows: ≤ 2 sessions', 2, further('lease', 'sessions')),
  atMost('renew-advisory', '1,000 leases are renewed by 1 statement', 1, further('ours', 'statements')),
  atMost('renew-lease', '1,000 leases are renewed by 1 statement', 1, further('ours', 'statements')),
  atMost('redis', '`run()` with an occurrence ≤ 1.2 × `SET NX PX` and EVALSHA', 1.2, ratio('occurrence', 'raw')),
  atLeast('redis-64', '64 names at once ≥ 1.3 × the raw client', 1.3, ratio('ours', 'raw')),
  atMost('handoff-redis', 'hand-off ≤ 1.5 × raw PUBLISH', 1.5, ratio('ours', 'raw')),
  atMost('waiters-redis', '200 waiters, Redis: ≤ 1 command per second', 1, (group) => lineOf(group, 'redis').value),
  atMost('waiters-redis', '200 waiters, Redis: ≤ 2 connections', 2, further('redis', 'sessions')),
  atMost('renew-redis', '1,000 locks on Redis are renewed by 1 script', 1, further('ours', 'statements')),
  atLeast('bullmq', 'wrapped jobs per second ≥ 0.9 × a hand-written wrapper', 0.9, ratio('ours', 'raw')),
  atLeast('bullmq-5ms', 'wrapped jobs of 5 ms per second ≥ 0.8 × BullMQ alone', 0.8, ratio('ours', 'bare')),
  atLeast('bullmq-skip', 'skipped jobs per second ≥ 0.7 × BullMQ alone', 0.7, ratio('ours', 'bare')),
  atMost('node-cron', 'what `schedule` adds ≤ 1.5 × what a committed claim by hand adds', 1.5, (group) => {
    const [ours, raw, bare] = ['ours', 'raw', 'bare'].map((id) => lineOf(group, id).value);
    return ((ours ?? Number.NaN) - (bare ?? Number.NaN)) / ((raw ?? Number.NaN) - (bare ?? Number.NaN));
  }),
  atMost('cli', '`solorun --help` ≤ 2 × `node -e 0`', 2, ratio('help', 'node')),
  atMost('cli', '`solorun run` starts its command within 3 × `node -e 0`', 3, ratio('start', 'node')),
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

/** @param {string} id @param {string} column @returns {Goal['measured']} */
function further(id, column) {
  return (group) => lineOf(group, id).also?.[column] ?? Number.NaN;
}
