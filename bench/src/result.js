// @ts-check
// What a row of the benchmark yields: figures of several contenders that took turns in one run.

import { ratioOf } from './statistics.js';

/**
 * `ours` is what we sell; the `floor` is the least that does the same job with the same durability, written by hand; a `peer` is
 * a package that people use; an `aside` puts the others into proportion.
 *
 * @typedef {'ours' | 'floor' | 'peer' | 'aside'} Role
 */

/** @typedef {{ readonly id: string, readonly name: string, readonly role: Role }} Identity */

/**
 * @typedef {object} Figures
 * @property {number} value The median over everything, in the unit of the group.
 * @property {readonly number[]} segments The same for each segment of the run.
 * @property {number} count How many samples there were.
 * @property {Readonly<Record<string, number>>} [also] Further figures, by the heading of their column, unit included.
 */

/** @typedef {Identity & Figures} Line */

/**
 * @typedef {object} Group
 * @property {string} row
 * @property {string} title
 * @property {string} unit Of `value`: µs, ms, cycles/s …
 * @property {string} heading Of the column of `value`.
 * @property {string} how What was done, for those who read the figures.
 * @property {string} [floor] The id of the line that the others are compared to. Without one nothing is divided by anything.
 * @property {readonly Line[]} lines
 */

/**
 * @param {Group} group
 * @param {string} id
 */
export function lineOf(group, id) {
  const line = group.lines.find((one) => one.id === id);
  if (line === undefined) throw new Error(`There is no "${id}" in the row ${group.row}.`);
  return line;
}

/**
 * @param {Group} group
 * @param {string} id
 * @param {string} to
 */
export function compare(group, id, to) {
  return ratioOf(lineOf(group, id).segments, lineOf(group, to).segments);
}
