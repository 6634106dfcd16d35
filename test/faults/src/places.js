// @ts-check
// Where the locks of a round are kept, one page for each provider.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { wallClock } from '@solorun/servers/clock';
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
 * @property {import('@solorun/servers/clock').WallClock} [clock] What the replica takes for the time, where it has a clock of its own.
 * @property {import('@solorun/servers/network').Proxy | import('@solorun/servers/network').Namespace | undefined} [network] What can be cut.
 */

/**
 * Extra equipment for some nemeses. Without it replicas reach one server by a proxy each.
 * - `namespaces`: a network namespace for each replica, in which a reset of the server's machine is what it is in life;
 * - `server clock`, `replica clocks`: who believes in a clock of its own, which can be set;
 * - `standbys`: two of them, that follow a Postgres synchronously;
 * - `pooler`: a PgBouncer with few sessions between replicas and their Postgres.
 *
 * @typedef {'namespaces' | 'server clock' | 'replica clocks' | 'standbys' | 'pooler'} Needs
 */

/**
 * @typedef {object} PlaceOptions
 * @property {number} replicas
 * @property {Needs | undefined} needs
 * @property {string} directory
 */

/**
 * @typedef {object} Place
 * @property {readonly Link[]} links
 * @property {import('@solorun/servers/postgres').Postgres} [postgres] The primary.
 * @property {import('@solorun/servers/postgres').Standby[]} [standbys] That follow it, each the one before it.
 * @property {import('@solorun/servers/pgbouncer').Pgbouncer} [pooler]
 * @property {import('@solorun/servers/redis').Redis} [redis]
 * @property {string} [lockDirectory]
 * @property {import('@solorun/servers/disk').SlowDisk | undefined} [flushes]
 * @property {() => Promise<readonly string[]>} leftovers What clients left on the server that are gone, a line each.
 * @property {() => Promise<void>} stop
 */

/** @typedef {(options: PlaceOptions) => Promise<Place>} Page */

/**
 * Gives each replica a clock of its own.
 *
 * @param {Place} place @param {string} directory
 * @returns {Place}
 */
export function withClocks(place, directory) {
  const links = place.links.map((link, slot) => {
    const home = join(directory, `clock-${slot}`);
    mkdirSync(home);
    const clock = wallClock({ directory: home, aheadMs: 0 });
    return { ...link, clock, env: { ...link.env, ...clock.env } };
  });
  return { ...place, links };
}

export const pages = /** @satisfies {Readonly<Record<string, Page>>} */ ({
  lockfile: lockfiles,
  advisory: (options) => postgres('postgres:', options),
  lease: (options) => postgres('postgres+lease:', options),
  redis: (options) => redis(options),
  'redis-cluster': (options) => redis(options, { cluster: true }),
});

/** @typedef {keyof typeof pages} PageName */
