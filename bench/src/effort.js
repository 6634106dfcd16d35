// @ts-check

/**
 * How much is measured.
 *
 * @typedef {object} Effort
 * @property {number} segments Of rows that go on one by one; a ratio is taken in each.
 * @property {number} turns Per segment and contender, of six cycles each.
 * @property {number} rounds Of rows with many locks at once.
 * @property {number} sliceMs How long one contender goes on in one such round, in ms.
 * @property {number} handOffs Per segment and contender.
 * @property {number} kills Of holders, per segment and contender.
 * @property {number} waiters On one name, in one process.
 * @property {number} windowMs How long statements are counted, in ms.
 * @property {number} leases Renewed together.
 * @property {number} jobRounds Of rows on workers of a queue.
 * @property {number} jobs In one such round.
 * @property {number} ticks Of a schedule, per contender.
 * @property {number} names Ever used in a store that was used much.
 * @property {number} memoryCycles Timed as one: a cycle in memory is too short for a clock.
 */

/** @type {Effort} */
export const full = {
  segments: 12,
  turns: 40,
  rounds: 12,
  sliceMs: 200,
  handOffs: 6,
  kills: 2,
  waiters: 200,
  windowMs: 15_000,
  leases: 1_000,
  jobRounds: 10,
  jobs: 1_000,
  ticks: 15,
  names: 100_000,
  memoryCycles: 500,
};

/** Enough to see that everything works; the figures mean nothing. @type {Effort} */
export const short = {
  segments: 2,
  turns: 1,
  rounds: 2,
  sliceMs: 10,
  handOffs: 1,
  kills: 1,
  waiters: 20,
  windowMs: 500,
  leases: 50,
  jobRounds: 2,
  jobs: 20,
  ticks: 1,
  names: 200,
  memoryCycles: 20,
};
