// @ts-check

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A mistake of one line that a maintainer could make, and the tests that catch it.
 *
 * @typedef {object} Mutant
 * @property {string} name what it forgets, as a sentence about the code
 * @property {string} package a directory of packages/
 * @property {string} file below that
 * @property {string} from stands in the file exactly once
 * @property {string} to
 * @property {Test | Programme} caughtBy
 */

/**
 * @typedef {object} Test
 * @property {string} project of vitest.config.ts
 * @property {string} file a part of its path
 * @property {string} test a part of its full name
 * @property {number} [explorations] how many at most, until one finds something; without the mutant there are as many as in `npm test`
 */

/**
 * @typedef {object} Programme
 * @property {string} faults the arguments of `npm run faults`, which finds a promise broken
 */

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** @param {Mutant} mutant */
export const pathOf = (mutant) => join('packages', mutant.package, mutant.file);

/**
 * @param {Mutant} mutant
 * @param {string} source
 * @throws {Error} if what it replaces is not there exactly once
 */
export function sabotage({ from, to }, source) {
  const parts = source.split(from);
  if (parts.length !== 2) throw new Error(`there are ${parts.length - 1} of ${JSON.stringify(from)} and not one`);
  return parts.join(to);
}

/**
 * Why it cannot be applied to the sources as they are; undefined if it can.
 *
 * @param {Mutant} mutant
 */
export function stale(mutant) {
  try {
    sabotage(mutant, readFileSync(join(ROOT, pathOf(mutant)), 'utf8'));
    return undefined;
  } catch (error) {
    return `${pathOf(mutant)}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
