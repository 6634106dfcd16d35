// @ts-check
// A lock in a store in which few names were ever used, and in one in which many were.

import { join } from 'node:path';
import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { soloRun } from '../contenders/solo.js';
import { oneByOne } from '../interleaved.js';
import { pinTogether, unpin } from '../pin.js';
import { withAll, withDirectory, withPostgres, withRedis } from '../stage.js';

/** @import { LockProvider } from '@solorun/core' */
/** @import { Effort } from '../effort.js' */
/** @import { Contender } from '../interleaved.js' */
/** @import { Group } from '../result.js' */
/** @import { Row } from '../rows.js' */

/** Of the store that has been used little. */
const FEW = 10;
const AT_ONCE = 64;

/**
 * Opens one of two stores: each on the same server, and apart from the other.
 *
 * @typedef {(store: string) => LockProvider} Open
 */

/** @param {Open} open @param {string} store @param {number} count */
async function use(open, store, count) {
  const solo = createSolo({ provider: open(store) });
  let left = count;
  const work = async () => {
    while ((left -= 1) >= 0) await solo.run(`used once ${left}`, () => {});
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await solo.close();
}

/**
 * @param {Open} open
 * @param {Effort} effort
 * @param {number} [server] its process id
 * @returns {Promise<Omit<Group, 'row' | 'title'>>}
 */
async function compare(open, { segments, turns, names }, server) {
  unpin();
  await use(open, 'few', FEW);
  await use(open, 'many', names);
  const contenders = [
    soloRun({ id: 'few', name: `${FEW} names` }, open('few')),
    soloRun({ id: 'many', name: `${names.toLocaleString('en')} names` }, open('many')),
  ];
  return withAll(contenders, async (/** @type {Contender[]} */ opened) => {
    pinTogether(server);
    return {
      ...{ heading: 'p50', unit: 'µs', floor: 'few' },
      how: 'Acquire, run a handler that does nothing, release, in two stores of one server: so many names were used once in each before.',
      lines: await oneByOne(opened, { segments, turns: turns * 2 }),
    };
  });
}

/** @type {Row} */
export const namesAdvisory = {
  name: 'names-advisory',
  title: 'Session locks, by how many names were ever used',
  run: (effort) =>
    withPostgres(({ url, pid }) => compare((schema) => postgresAdvisory({ connectionString: url, schema }), effort, pid)),
};

/** @type {Row} */
export const namesLease = {
  name: 'names-lease',
  title: 'Lease rows, by how many names were ever used',
  run: (effort) =>
    withPostgres(({ url, pid }) => compare((schema) => postgresLease({ connectionString: url, schema }), effort, pid)),
};

/** @type {Row} */
export const namesRedis = {
  name: 'names-redis',
  title: 'Redis, by how many names were ever used',
  run: (effort) => withRedis(({ url, pid }) => compare((prefix) => redis({ url, prefix, settleMs: 0 }), effort, pid)),
};

/** @type {Row} */
export const namesLockfile = {
  name: 'names-lockfile',
  title: 'Lock files, by how many names were ever used',
  run: (effort) => withDirectory((directory) => compare((name) => lockfile({ directory: join(directory, name) }), effort)),
};
