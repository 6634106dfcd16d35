// @ts-check

import { advisory, advisoryAtOnce } from './rows/advisory.js';
import { lease, leaseAtOnce } from './rows/lease.js';
import { lockfile } from './rows/lockfile.js';
import { memory } from './rows/memory.js';

/** @import { Effort } from './effort.js' */
/** @import { Group } from './result.js' */

/**
 * @typedef {object} Row
 * @property {string} name As `--rows` takes it.
 * @property {string} title
 * @property {(effort: Effort) => Promise<Omit<Group, 'row' | 'title'>>} run
 */

/** @type {readonly Row[]} */
export const rows = [advisory, advisoryAtOnce, lease, leaseAtOnce, lockfile, memory];
