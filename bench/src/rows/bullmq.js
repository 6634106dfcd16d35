// @ts-check
// What a wrapped processor costs BullMQ's workers.

import { setTimeout as sleep } from 'node:timers/promises';
import { singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { redis } from '@solorun/redis';
import { Queue, Worker } from 'bullmq';
import { connectRedis, RELEASE } from '../contenders/redis.js';
import { inTurn } from '../interleaved.js';
import { pinApart } from '../pin.js';
import { withAll, withRedis } from '../stage.js';
import { median } from '../statistics.js';

/** @import { Job, Processor } from 'bullmq' */
/** @import { Effort } from '../effort.js' */
/** @import { Identity, Line } from '../result.js' */
/** @import { Row } from '../rows.js' */

/** @typedef {Identity & { readonly processor: Processor, readonly close?: () => unknown }} Contender */
/** @typedef {(job: Job) => Promise<void>} Work */

const CONCURRENCY = 10;
const LEASE_MS = 30_000;
const HOW = `One worker with a concurrency of ${CONCURRENCY}, each job with a lock of its own. The server on one processor, the worker on another.`;

/** @type {Work} */
const nothing = async () => {};
/** @type {Work} */
const fiveMs = () => sleep(5);

/** @param {Job} job */
const lockOf = (job) => `job-${job.data.lock}`;

/** @type {Row} */
export const bullmq = {
  name: 'bullmq',
  title: "BullMQ's jobs on Redis that do nothing",
  run: (effort) => onWorkers(effort, nothing, HOW, 'raw'),
};

/** @type {Row} */
export const bullmqFiveMs = {
  name: 'bullmq-5ms',
  title: "BullMQ's jobs on Redis that take 5 ms",
  run: (effort) => onWorkers(effort, fiveMs, HOW, 'bare'),
};

/** @type {Row} */
export const bullmqSkip = {
  name: 'bullmq-skip',
  title: "BullMQ's jobs on Redis that find their lock busy, and are skipped",
  run: (effort) =>
    withRedis(async ({ url, pid }) => {
      const holder = createSolo({ provider: redis({ url, settleMs: 0 }), leaseMs: LEASE_MS });
      const lease = await holder.acquire('busy', { waitMs: 0 });
      return withAll([bare(nothing), wrapped(url, nothing, 'busy')], async (/** @type {Contender[]} */ contenders) => {
        pinApart(pid);
        const lines = await work(contenders, url, effort);
        await lease.release();
        await holder.close();
        return {
          ...{ heading: 'median', unit: 'cycles/s', floor: 'bare' },
          how: 'As before, and all jobs have the same lock, which somebody else holds.',
          lines,
        };
      });
    }),
};

/**
 * @param {Effort} effort
 * @param {Work} act
 * @param {string} how
 * @param {string} floor
 */
function onWorkers(effort, act, how, floor) {
  return withRedis(({ url, pid }) =>
    withAll([wrapped(url, act), byHand(url, act), bare(act)], async (/** @type {Contender[]} */ contenders) => {
      pinApart(pid);
      return { ...{ heading: 'median', unit: 'cycles/s', floor, how }, lines: await work(contenders, url, effort) };
    }),
  );
}

/** @param {Work} act @returns {Contender} */
function bare(act) {
  return { ...{ id: 'bare', name: 'BullMQ alone', role: 'aside' }, processor: act };
}

/**
 * What somebody writes: no renewal, no fence, and a job that finds it busy is lost.
 *
 * @param {string} url
 * @param {Work} act
 * @returns {Promise<Contender>}
 */
async function byHand(url, act) {
  const client = await connectRedis(url);
  const sha = /** @type {string} */ (await client.script('LOAD', RELEASE));
  return {
    ...{ id: 'raw', name: '`SET NX PX` and a compare-and-delete around it', role: 'floor' },
    async processor(job) {
      const key = `raw-${lockOf(job)}`;
      if ((await client.set(key, String(job.id), 'PX', LEASE_MS, 'NX')) !== 'OK') throw new Error('the lock is held');
      try {
        await act(job);
      } finally {
        await client.evalsha(sha, 1, key, String(job.id));
      }
    },
    close: () => client.disconnect(),
  };
}

/**
 * @param {string} url
 * @param {Work} act
 * @param {string} [busy] the lock that is held
 * @returns {Contender}
 */
function wrapped(url, act, busy) {
  const solo = createSolo({ provider: redis({ url, settleMs: 0 }), leaseMs: LEASE_MS });
  return {
    ...{ id: 'ours', name: '`singletonProcessor` on `redis`', role: 'ours' },
    processor: singletonProcessor(solo, busy === undefined ? { name: lockOf } : { name: busy, onBusy: 'skip' }, act),
    close: () => solo.close(),
  };
}

/**
 * @param {readonly Contender[]} contenders
 * @param {string} url
 * @param {Effort} effort
 * @returns {Promise<Line[]>}
 */
async function work(contenders, url, { jobRounds, jobs }) {
  const connection = { url };
  const lines = contenders.map(({ id, processor }) => {
    const queue = new Queue(id, { connection, defaultJobOptions: { removeOnComplete: true } });
    const worker = new Worker(id, processor, { connection, concurrency: CONCURRENCY, autorun: false });
    /** @type {(error: Error) => void} */
    let fail = () => {};
    let left = 0;
    let done = () => {};
    worker.on('completed', () => (left -= 1) === 0 && done());
    worker.on('failed', (_job, error) => fail(error));
    void worker.run();
    return {
      /** @param {number} count */
      async round(count) {
        await worker.pause(true);
        // Before there are jobs: a worker that waited for one takes it, paused or not.
        left = count;
        const over = new Promise((resolve, reject) => {
          done = () => resolve(undefined);
          fail = reject;
        });
        await queue.addBulk(Array.from({ length: count }, (_, lock) => ({ name: 'job', data: { lock } })));
        const began = performance.now();
        void worker.resume();
        await over;
        return count / ((performance.now() - began) / 1000);
      },
      async close() {
        await worker.close();
        await queue.close();
      },
    };
  });
  try {
    for (const line of lines) await line.round(Math.min(jobs, 200));
    const all = contenders.map(() => /** @type {number[]} */ ([]));
    for (let at = 0; at < jobRounds; at += 1) {
      for (const [index, line] of inTurn(lines, at)) all[index]?.push(await line.round(jobs));
    }
    return contenders.map(({ id, name, role }, index) => {
      const perSecond = all[index] ?? [];
      return { id, name, role, value: median(perSecond), segments: perSecond, count: jobRounds * jobs };
    });
  } finally {
    for (const line of lines) await line.close();
  }
}
