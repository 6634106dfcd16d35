// @ts-check
// Chance that can be had again: all that is drawn follows from one seed.

/**
 * @typedef {object} Random
 * @property {() => number} next From 0 to below 1.
 * @property {(from: number, to: number) => number} between A whole number, both ends included.
 * @property {<T>(these: readonly T[]) => T} pick
 * @property {() => Random} fork Another stream of its own: what is drawn there moves nothing here.
 */

/**
 * mulberry32: 32 bits of state are enough to draw faults, and it is the same on every machine.
 *
 * @param {number} seed
 * @returns {Random}
 */
export function createRandom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (/** @type {number} */ from, /** @type {number} */ to) => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between,
    pick(these) {
      const one = these[between(0, these.length - 1)];
      if (these.length === 0) throw new Error('There is nothing to pick from.');
      return /** @type {(typeof these)[number]} */ (one);
    },
    fork: () => createRandom(between(0, 2 ** 32 - 1)),
  };
}
