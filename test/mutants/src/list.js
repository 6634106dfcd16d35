// @ts-check

import { core } from './list/core.js';
import { lockfile } from './list/lockfile.js';

/** @import { Mutant } from './mutant.js' */

/** @type {readonly Mutant[]} */
export const mutants = [...core, ...lockfile];

export { equal } from './list/equal.js';
