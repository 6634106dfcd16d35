// @ts-check
// How a lock behaves as more replicas wait for it, and as more locks are held: the time of a hand-off, and what the server is asked
// while nothing happens.

import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@solorun/servers/network';
import { unpin } from '../pin.js';
import { startReplica } from '../replica.js';
import { withPostgres } from '../stage.js';
import { median, quantile } from '../statistics.js';

/** @import { Replica } from '../replica.js' */
/** @import { Queue } from '../queues/queue.js' */

/**
 * @typedef {object} Extent
 * @property {readonly number[]} replicas
 * @property {readonly number[]} names
 * @property {number} handOffs At each point.
 * @property {number} windowMs How long statements are counted, in ms.
 * @property {number} settleMs Before that, for connections to be opened and first looks to be taken, in ms.
 */

/** A lease of the default length is renewed twice in the window. @type {Extent} */
export const wide = {
  replicas: [2, 5, 10, 20, 50],
  names: [10, 100, 1_000, 5_000],
  handOffs: 60,
  windowMs: 30_000,
  settleMs: 4_000,
};

/** @type {Extent} */
export const narrow = { replicas: [3], names: [2], handOffs: 2, windowMs: 300, settleMs: 300 };

/** @typedef {{ readonly x: number, readonly medianMs: number, readonly p90Ms: number, readonly perSecond: number }} Point */
/** @typedef {{ readonly name: string, readonly points: readonly Point[] }} Curve */
/** @typedef {{ readonly replicas: readonly Curve[], readonly names: readonly Curve[] }} Scale */

const kinds = [
  { queue: 'solo-advisory', name: 'session locks' },
  { queue: 'solo-lease', name: 'lease rows' },
];
/** By then whoever waits has taken its place, in ms. */
const SETTLED_MS = 50;
/** Started at once. */
const TOGETHER = 4;
/** 50 replicas take two sessions each, and more while they begin. */
const SETTINGS = { max_connections: 300 };

/**
 * @param {Extent} extent
 * @param {(progress: string) => void} tell
 * @returns {Promise<Scale>}
 */
export async function measureScale(extent, tell) {
  unpin();
  const { handOffs } = extent;
  return {
    replicas: await curvesOver(extent.replicas, extent, (x, queue) => {
      tell(`${x} replicas wait for one name: ${queue}`);
      return {
        handOffs: (url) => withReplicas(queue, url, x, (all) => handRound(all, handOffs)),
        idle: (url, count) =>
          withReplicas(queue, url, x, async (all) => {
            await Promise.all(all.map((replica) => replica.take()));
            return count();
          }),
      };
    }),
    names: await curvesOver(extent.names, extent, (x, queue) => {
      tell(`${x} names are held: ${queue}`);
      return {
        handOffs: (url) =>
          withReplicas(queue, url, 2, async (all) => {
            await all[0]?.keep(x);
            return handRound(all, handOffs);
          }),
        idle: (url, count) =>
          withReplicas(queue, url, 1, async (all) => {
            await all[0]?.keep(x);
            return count();
          }),
      };
    }),
  };
}

/**
 * @typedef {object} Measurement
 * @property {(url: string) => Promise<number[]>} handOffs How long each took, in ms.
 * @property {(url: string, count: () => Promise<number>) => Promise<number>} idle What was counted while nothing happened.
 */

/**
 * @param {readonly number[]} xs
 * @param {Extent} extent
 * @param {(x: number, queue: string) => Measurement} measurement
 * @returns {Promise<Curve[]>}
 */
async function curvesOver(xs, extent, measurement) {
  /** @type {{ name: string, points: Point[] }[]} */
  const measured = kinds.map(({ name }) => ({ name, points: [] }));
  for (const x of xs) {
    const measurements = kinds.map(({ queue }) => measurement(x, queue));
    const handOffs = [];
    for (const one of measurements) handOffs.push(await withPostgres(({ url }) => one.handOffs(url), SETTINGS));
    // On other servers: those who were killed a moment ago have left leases. What is merely counted goes on at the same time.
    const counts = await Promise.all(measurements.map((one) => countIdle(one, extent)));
    for (const [index, { points }] of measured.entries()) {
      const samples = handOffs[index] ?? [];
      points.push({ x, medianMs: median(samples), p90Ms: quantile(samples, 0.9), perSecond: counts[index] ?? Number.NaN });
    }
  }
  return measured;
}

/**
 * @param {Measurement} measurement
 * @param {Extent} extent
 */
function countIdle({ idle }, { windowMs, settleMs }) {
  return withPostgres(async ({ url, port }) => {
    const proxy = await startProxy({ port });
    try {
      return await idle(proxy.through(url), async () => {
        await sleep(settleMs);
        const [before, at] = [proxy.roundTrips, performance.now()];
        await sleep(windowMs);
        // No statement is sent before the last one of its connection has been answered, so round trips are statements.
        return ((proxy.roundTrips - before) / (performance.now() - at)) * 1000;
      });
    } finally {
      await proxy.stop();
    }
  }, SETTINGS);
}

/**
 * @template T
 * @param {string} queue
 * @param {string} url
 * @param {number} count
 * @param {(all: Replica[]) => Promise<T>} act
 */
async function withReplicas(queue, url, count, act) {
  /** @type {Replica[]} */
  const all = [];
  try {
    // A few at a time: those who start together on a small machine wait for a processor longer than for a connection.
    for (let started = 0; started < count; started += TOGETHER) {
      const few = Array.from({ length: Math.min(TOGETHER, count - started) }, () => startReplica(queue, url));
      const ends = await Promise.allSettled(few);
      for (const one of ends) if (one.status === 'fulfilled') all.push(one.value);
      for (const one of ends) if (one.status === 'rejected') throw one.reason;
    }
    return await act(all);
  } finally {
    await Promise.all(all.map((replica) => replica.kill()));
  }
}

/**
 * All of them wait for the lock, and whoever gets it gives it back and waits again.
 *
 * @param {readonly Replica[]} all
 * @param {number} count
 * @returns {Promise<number[]>} the hand-offs, in ms
 */
async function handRound(all, count) {
  /** @type {Map<Replica, Promise<{ replica: Replica, at: number }>>} */
  const waiting = new Map();
  /** @param {Replica} replica */
  const take = async (replica) => {
    await replica.take();
    const held = replica.held().then((at) => ({ replica, at }));
    // Who still waits at the end is killed.
    held.catch(() => {});
    waiting.set(replica, held);
  };
  const next = async () => {
    const winner = await Promise.race(waiting.values());
    waiting.delete(winner.replica);
    return winner;
  };
  await Promise.all(all.map(take));
  let holder = await next();
  // Until those who came together stand in line.
  await sleep(SETTLED_MS * 10);
  const samples = [];
  for (let each = 0; each < count; each += 1) {
    await sleep(SETTLED_MS);
    const released = await holder.replica.release();
    const previous = holder.replica;
    holder = await next();
    samples.push(holder.at - released);
    await take(previous);
  }
  return samples;
}
