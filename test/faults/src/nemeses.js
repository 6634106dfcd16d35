// @ts-check
// What happens to fleets. A nemesis does its harm, waits, and mends it; it resolves when all is as it was.

import { clocks } from './nemeses/clocks.js';
import { disks } from './nemeses/disks.js';
import { networks } from './nemeses/networks.js';
import { postgresServers } from './nemeses/postgres.js';
import { processes } from './nemeses/processes.js';
import { redisServers } from './nemeses/redis.js';

/** @import { Fleet } from './fleet.js' */
/** @import { Excludes } from './excluded.js' */
/** @import { Needs, PageName, Place } from './places.js' */
/** @import { Random } from './random.js' */
/** @import { Job } from './worker.js' */

/**
 * @typedef {object} Scene
 * @property {Place} place
 * @property {Fleet} fleet
 * @property {Job} job
 * @property {Random} random
 */

/**
 * @typedef {object} Nemesis
 * @property {string} title For the table.
 * @property {readonly PageName[]} on
 * @property {(scene: Scene) => Promise<void>} strike
 * @property {() => string | undefined} [missing] Why it cannot be done on this machine, and the remedy.
 * @property {Needs} [needs] What the place of its rounds has to have beyond what others have.
 * @property {Partial<Job>} [job] What its rounds need of the fleet, over what is drawn.
 * @property {boolean} [alone] Never mixed with others: it makes a promise depend on an option that they do not give.
 * @property {(scene: Scene) => boolean} [spent] Whether it can do no more harm in this round.
 * @property {'commands'} [workload] It is for that one only.
 * @property {Excludes} [excluded] What docs/guarantees.md excludes under this nemesis.
 */

export const nemeses = /** @satisfies {Readonly<Record<string, Nemesis>>} */ ({
  ...processes,
  ...networks,
  ...clocks,
  ...disks,
  ...postgresServers,
  ...redisServers,
});

/** @typedef {keyof typeof nemeses} NemesisName */

/** @param {string} name @returns {Nemesis} */
export function nemesisNamed(name) {
  const found = /** @type {Readonly<Record<string, Nemesis>>} */ (nemeses)[name];
  if (found === undefined) throw new Error(`There is no nemesis ${JSON.stringify(name)}.`);
  return found;
}
