// @ts-check

import { adapters } from './list/adapters.js';
import { cli } from './list/cli.js';
import { core } from './list/core.js';
import { lockfile } from './list/lockfile.js';
import { postgres } from './list/postgres.js';
import { redis } from './list/redis.js';

/** @import { Mutant } from './mutant.js' */

/** @type {readonly Mutant[]} */
export const mutants = [...core, ...lockfile, ...postgres, ...redis, ...adapters, ...cli];

export { equal } from './list/equal.js';
