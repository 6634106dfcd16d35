// @ts-check
// How to get ratios that repeat from a small machine that others use too: nobody is measured for long at a stretch. Contenders take
// turns, each ratio is taken within one segment of the run, and what is reported is the median of these ratios and their spread.

import { median } from './statistics.js';

/** @import { Identity, Line } from './result.js' */

/**
 * One way to take a lock and give it back; `check` throws if it was not taken, where `cycle` itself does not.
 *
 * @typedef {Identity & {
 *   readonly cycle: (lock: number) => unknown,
 *   readonly check?: (result: unknown) => void,
 *   readonly close?: () => unknown,
 * }} Contender
 */

const ignore = () => {};
/** In one turn of a contender; short, so that a disturbance hits all of them. */
const BLOCK = 6;

/**
 * One lock, one cycle after the other. The figures are µs.
 *
 * @param {readonly Contender[]} contenders
 * @param {object} amount
 * @param {number} amount.segments
 * @param {number} amount.turns Per segment and contender.
 * @param {number} [amount.cycles] In one turn, each of them timed. Default 6.
 * @param {number} [amount.together] Cycles that are timed as one, where a cycle is too short for the clock. Default 1.
 * @returns {Promise<Line[]>}
 */
export async function oneByOne(contenders, { segments, turns, cycles = BLOCK, together = 1 }) {
  /** @param {Contender} contender @param {number[]} samples */
  const turn = async ({ cycle, check = ignore }, samples) => {
    for (let sample = 0; sample < cycles; sample += 1) {
      const began = performance.now();
      for (let each = 0; each < together; each += 1) check(await cycle(0));
      samples.push(((performance.now() - began) * 1000) / together);
    }
  };

  // Connections are opened, statements prepared, code compiled: the more code there is, the longer that takes.
  for (let warm = 0; warm < turns; warm += 1) for (const contender of contenders) await turn(contender, []);

  /** @type {number[][][]} contender, segment, sample */
  const all = contenders.map(() => []);
  for (let segment = 0; segment < segments; segment += 1) {
    const samples = contenders.map(() => /** @type {number[]} */ ([]));
    for (let at = 0; at < turns; at += 1) {
      for (const [index, contender] of inTurn(contenders, at)) await turn(contender, samples[index] ?? []);
    }
    for (const [index, own] of samples.entries()) all[index]?.push(own);
  }
  return contenders.map(({ id, name, role }, index) => {
    const own = all[index] ?? [];
    return { id, name, role, value: median(own.flat()), segments: own.map(median), count: own.flat().length };
  });
}

/**
 * @typedef {object} Amount
 * @property {number} ms How long to go on; what has begun by then is finished, and counts.
 * @property {number} locks Each is taken and given back again and again, all at once.
 *
 * @typedef {{ perSecond: number, cpuUs: number, cycles: number }} Slice
 *
 * @typedef {Identity & {
 *   readonly slice: (amount: Amount) => Promise<Slice>,
 *   readonly close?: () => unknown,
 * }} Sliced
 */

/**
 * @param {Contender} contender
 * @param {Amount} amount
 * @returns {Promise<Slice>}
 */
export async function slice({ cycle, check = ignore }, { ms, locks }) {
  let cycles = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: locks }, async (_, lock) => {
      do {
        check(await cycle(lock));
        cycles += 1;
      } while (performance.now() - began < ms);
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: cycles / seconds, cpuUs: (user + system) / cycles, cycles };
}

/**
 * Many locks at once. The figures are cycles per second.
 *
 * @param {readonly Sliced[]} contenders
 * @param {object} amount
 * @param {number} amount.rounds Each of them is a segment, of one slice per contender.
 * @param {number} amount.sliceMs
 * @param {number} amount.locks
 * @returns {Promise<Line[]>}
 */
export async function allAtOnce(contenders, { rounds, sliceMs, locks }) {
  const amount = { ms: sliceMs, locks };
  for (const contender of contenders) await contender.slice(amount);
  const all = contenders.map(() => /** @type {Slice[]} */ ([]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, contender] of inTurn(contenders, round)) all[index]?.push(await contender.slice(amount));
  }
  return contenders.map(({ id, name, role }, index) => {
    const own = all[index] ?? [];
    const perSecond = own.map((one) => one.perSecond);
    return {
      ...{ id, name, role, value: median(perSecond), segments: perSecond },
      count: own.reduce((sum, { cycles }) => sum + cycles, 0),
      also: { 'client CPU, µs per cycle': median(own.map(({ cpuUs }) => cpuUs)) },
    };
  });
}

/**
 * Another one begins each time, and every other time they go backwards: none is always the one that comes after a noisy one.
 *
 * @template T
 * @param {readonly T[]} all
 * @param {number} time
 * @returns {[number, T][]} with the place in `all`
 */
export function inTurn(all, time) {
  const entries = [...all.entries()];
  if (time % 2 === 1) entries.reverse();
  const first = Math.floor(time / 2) % entries.length;
  return [...entries.slice(first), ...entries.slice(0, first)];
}
