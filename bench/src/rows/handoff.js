// @ts-check
// How long it takes from one process's giving the lock back to another one's having it.

import { setTimeout as sleep } from 'node:timers/promises';
import { openVerrou } from '../contenders/verrou.js';
import { connect } from '../contenders/connect.js';
import { RAW_LEASE } from '../contenders/raw.js';
import { inTurn } from '../interleaved.js';
import { pinTogether } from '../pin.js';
import { startReplica } from '../replica.js';
import { withDirectory, withPostgres, withRedis } from '../stage.js';
import { median, quantile } from '../statistics.js';

/** @import { Effort } from '../effort.js' */
/** @import { Identity, Line } from '../result.js' */
/** @import { Row } from '../rows.js' */
/** @import { Replica } from '../replica.js' */

/**
 * @typedef {Identity & {
 *   readonly queue: string,
 *   readonly everyMs?: number,
 * }} Strategy `everyMs`: how often it looks, if it looks. The lock comes free at any moment in between.
 */

/** By then a waiter has taken its place, in ms. */
const SETTLED_MS = 30;
const HOW =
  'Two processes hand one lock to and fro: from the call that gives it back in one to the start of the handler in the other. ' +
  'All on one processor.';

/** @type {Row} */
export const handOffAdvisory = {
  name: 'handoff-advisory',
  title: 'Session locks of Postgres, handed to another process',
  run: (effort) =>
    withPostgres(async ({ url, pid }) => {
      await prepare(url);
      pinTogether(pid);
      return {
        ...{ heading: 'median', unit: 'ms', floor: 'raw', how: HOW },
        lines: await handToAndFro(
          [
            { id: 'ours', name: '`run()` that waits, on `postgresAdvisory`', role: 'ours', queue: 'solo-advisory' },
            { id: 'raw', name: 'a blocking `pg_advisory_lock`', role: 'floor', queue: 'raw-blocking' },
            { id: 'advisory-lock', name: 'advisory-lock', role: 'peer', queue: 'advisory-lock' },
            { id: 'verrou', name: '@verrou/core on kysely, looks every 250 ms', role: 'peer', queue: 'verrou', everyMs: 250 },
          ],
          url,
          effort,
        ),
      };
    }),
};

/** @type {Row} */
export const handOffLease = {
  name: 'handoff-lease',
  title: 'Lease rows in Postgres, handed to another process',
  run: (effort) =>
    withPostgres(async ({ url, pid }) => {
      await prepare(url);
      pinTogether(pid);
      return {
        ...{ heading: 'median', unit: 'ms', floor: 'raw', how: HOW },
        lines: await handToAndFro(
          [
            { id: 'ours', name: '`run()` that waits, on `postgresLease`', role: 'ours', queue: 'solo-lease' },
            { id: 'raw', name: 'LISTEN, NOTIFY and a try', role: 'floor', queue: 'raw-notify' },
            { id: 'verrou', name: '@verrou/core on kysely, looks every 250 ms', role: 'peer', queue: 'verrou', everyMs: 250 },
          ],
          url,
          effort,
        ),
      };
    }),
};

/** @type {Row} */
export const handOffRedis = {
  name: 'handoff-redis',
  title: 'Locks on Redis, handed to another process',
  run: (effort) =>
    withRedis(async ({ url, pid }) => {
      pinTogether(pid);
      return {
        ...{ heading: 'median', unit: 'ms', floor: 'raw', how: HOW },
        lines: await handToAndFro(
          [
            { id: 'ours', name: '`run()` that waits, on `redis`', role: 'ours', queue: 'solo-redis' },
            { id: 'raw', name: 'SUBSCRIBE, PUBLISH and a try', role: 'floor', queue: 'raw-publish' },
            {
              ...{ id: 'redis-semaphore', name: 'redis-semaphore, looks every 10 ms', role: 'peer' },
              queue: 'redis-semaphore',
              everyMs: 10,
            },
            { ...{ id: 'redlock', name: 'redlock 5 beta, looks every 200 ms', role: 'peer' }, queue: 'redlock', everyMs: 200 },
            {
              ...{ id: 'verrou', name: '@verrou/core on ioredis, looks every 250 ms', role: 'peer' },
              queue: 'verrou-redis',
              everyMs: 250,
            },
          ],
          url,
          effort,
        ),
      };
    }),
};

/** @type {Row} */
export const handOffLockfile = {
  name: 'handoff-lockfile',
  title: 'Lock files, handed to another process',
  run: (effort) =>
    withDirectory(async (directory) => {
      pinTogether();
      return {
        ...{ heading: 'median', unit: 'ms', floor: 'raw', how: HOW },
        lines: await handToAndFro(
          [
            { id: 'ours', name: '`run()` that waits, on `lockfile`', role: 'ours', queue: 'solo-lockfile' },
            { id: 'raw', name: '`fs.watch` and a link', role: 'floor', queue: 'raw-watch' },
            {
              ...{ id: 'proper-lockfile', name: 'proper-lockfile, looks every 100 ms', role: 'peer' },
              ...{ queue: 'proper-lockfile', everyMs: 100 },
            },
          ],
          directory,
          effort,
        ),
      };
    }),
};

/**
 * What many processes would make at the same time, and stumble over each other.
 *
 * @param {string} url
 */
export async function prepare(url) {
  const client = await connect(url);
  await client.query(RAW_LEASE.table);
  await client.end();
  const { locks, close } = openVerrou(url);
  await locks.createLock('first', 30_000).run(async () => {});
  await close();
}

/**
 * @param {readonly Strategy[]} strategies
 * @param {string} store
 * @param {Effort} effort
 * @returns {Promise<Line[]>}
 */
async function handToAndFro(strategies, store, { segments, handOffs }) {
  /** @type {Replica[]} */
  const running = [];
  try {
    const pairs = [];
    for (const { queue, everyMs = 0 } of strategies) {
      const [a, b] = [await startReplica(queue, store), await startReplica(queue, store)];
      running.push(a, b);
      await a.take();
      await a.held();
      pairs.push(pair(a, b, everyMs));
    }
    // Each has waited once and held once.
    for (const handOver of pairs) for (let warm = 0; warm < 2; warm += 1) await handOver();
    const all = strategies.map(() => /** @type {number[][]} */ ([]));
    for (let segment = 0; segment < segments; segment += 1) {
      for (const [index, handOver] of inTurn(pairs, segment)) {
        const samples = [];
        for (let each = 0; each < handOffs; each += 1) samples.push(await handOver());
        all[index]?.push(samples);
      }
    }
    return strategies.map(({ id, name, role }, index) => {
      const own = all[index] ?? [];
      return {
        ...{ id, name, role, value: median(own.flat()), segments: own.map(median), count: own.flat().length },
        also: { 'p90, ms': quantile(own.flat(), 0.9) },
      };
    });
  } finally {
    await Promise.all(running.map((replica) => replica.kill()));
  }
}

/**
 * @param {Replica} first holds the lock
 * @param {Replica} second
 * @param {number} everyMs
 * @returns {() => Promise<number>} one hand-off, in ms
 */
function pair(first, second, everyMs) {
  let [holder, waiter] = [first, second];
  return async () => {
    await waiter.take();
    await sleep(SETTLED_MS + Math.random() * everyMs);
    const released = await holder.release();
    const held = await waiter.held();
    [holder, waiter] = [waiter, holder];
    return held - released;
  };
}
