// @ts-check
// Where the locks of a round are kept, one page for each provider.

import { lockfiles } from './places/lockfiles.js';
import { postgres } from './places/postgres.js';
import { redis } from './places/redis.js';

/**
 * One replica's way to the store.
 *
 * @typedef {object} Link
 * @property {string} store As test/programs/store.js takes it.
 * @property {readonly string[]} [within] What to put before the command of the replica.
 * @property {Readonly<Record<string, string>>} [env]
 * @property {import('@solorun/servers/network').Proxy | import('@solorun/servers/network').Namespace | undefined} [network] What can be cut.
 */

/**
 * @typedef {object} PlaceOptions
 * @property {number} replicas
 * @property {'proxy' | 'namespace'} network How replicas reach the server: by a proxy each, or out of a network namespace each, in which
 *   a reset of the server's machine is what it is in life.
 * @property {boolean} ownClock Whether the server believes in a clock of its own, which can be set.
 * @property {string} directory
 */

/**
 * @typedef {object} Place
 * @property {readonly Link[]} links
 * @property {import('@solorun/servers/postgres').Postgres} [postgres]
 * @property {import('@solorun/servers/redis').Redis} [redis]
 * @property {string} [lockDirectory]
 * @property {import('@solorun/servers/disk').SlowDisk | undefined} [flushes]
 * @property {() => Promise<readonly string[]>} leftovers What clients left on the server that are gone, a line each.
 * @property {() => Promise<void>} stop
 */

/** @typedef {(options: PlaceOptions) => Promise<Place>} Page */

export const pages = /** @satisfies {Readonly<Record<string, Page>>} */ ({
  lockfile: lockfiles,
  advisory: (options) => postgres('postgres:', options),
  lease: (options) => postgres('postgres+lease:', options),
  redis: (options) => redis(options),
  'redis-cluster': (options) => redis(options, { cluster: true }),
});

/** @typedef {keyof typeof pages} PageName */
