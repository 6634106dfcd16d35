// @ts-check
// Everything that is compared, and how it is used.

import { readFileSync } from 'node:fs';

/** @import { Recipe, Setting } from './recipe.js' */
/** @import { StoreKind } from './place.js' */

/**
 * @typedef {object} Contender
 * @property {string} title
 * @property {StoreKind} store
 * @property {readonly string[]} packages Their versions stand on the page.
 * @property {string} docs Where the recipe is from.
 * @property {string} recipe In words: what is called, with what.
 * @property {boolean} [ours]
 * @property {boolean} [locksTicks] Each tick has a lock of its own, so no replica waits for the run of an earlier one.
 * @property {ContenderName} [beside] The one of ours that it is measured against: on the same store.
 * @property {(setting: Setting) => Promise<Recipe>} open Imported when it is opened, so that each process loads what it uses.
 */

const REDIS = 'https://redis.io/docs/latest/commands/set/';

/** For how long a job's lock is kept at least, in ms. More than 200 ms, and less than the ticks are apart. */
const AT_LEAST_MS = 700;

/** @typedef {'naive' | 'minimum-hold' | 'verrou' | 'redis-semaphore' | 'redlock' | 'node-cron' | 'bullmq' | 'solorun-redis' | 'solorun-redis-log' | 'advisory-lock' | 'solorun-advisory' | 'solorun-lease' | 'proper-lockfile' | 'solorun-lockfile'} ContenderName */

/** @type {Readonly<Record<ContenderName, Contender>>} */
export const contenders = {
  naive: {
    title: 'a naive lock',
    store: 'redis',
    packages: ['ioredis'],
    docs: REDIS,
    recipe: '`SET NX PX`, and `DEL` at the end, in a handler of node-cron. A busy lock is tried again at the next tick.',
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/naive.js')).naive(setting),
  },
  'minimum-hold': {
    title: 'a minimum hold',
    store: 'redis',
    packages: ['ioredis'],
    docs: 'https://github.com/lukas-krecan/ShedLock#annotate-your-scheduled-tasks',
    recipe: `The naive lock, kept for at least ${AT_LEAST_MS} ms however short the job was: the idea of ShedLock's \`lockAtLeastFor\`. It covers lateness up to that time, and must be shorter than ticks are apart.`,
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/naive.js')).naive(setting, { atLeastMs: AT_LEAST_MS }),
  },
  verrou: {
    title: 'verrou',
    store: 'redis',
    packages: ['@verrou/core', 'ioredis'],
    docs: 'https://verrou.dev/docs/usage',
    recipe:
      'The Redis store. Ticks call `runImmediately()`. A long job calls `run()`, calls `extend()` at each third of the lock’s time, and asks `isExpired()`.',
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/verrou.js')).verrou(setting),
  },
  'redis-semaphore': {
    title: 'redis-semaphore',
    store: 'redis',
    packages: ['redis-semaphore', 'ioredis'],
    docs: 'https://github.com/swarthy/redis-semaphore#example-with-lost-lock-handling',
    recipe:
      'A `Mutex` with `onLockLost`. Ticks call `tryAcquire()` with one attempt. A long job waits with `tryAcquire()`, and asks `isAcquired`.',
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/redis-semaphore.js')).redisSemaphore(setting),
  },
  redlock: {
    title: 'redlock',
    store: 'redis',
    packages: ['redlock', 'ioredis'],
    docs: 'https://github.com/mike-marcacci/node-redlock#usage',
    recipe: '`using()` on one server. Ticks do not retry. A long job retries without end, and asks `signal.aborted`.',
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/redlock.js')).redlock(setting),
  },
  'node-cron': {
    title: 'node-cron with a coordinator',
    locksTicks: true,
    store: 'redis',
    packages: ['node-cron', 'ioredis'],
    docs: 'https://nodecron.com/distributed-coordination',
    recipe:
      '`distributed: true` with `noOverlap`, and a `RunCoordinator` as the guide describes one on Redis: `SET NX PX` of the tick’s key, and a compare-and-delete in `onComplete()`. Each tick has a key of its own, so the run of one tick does not keep another replica from running the next one.',
    beside: 'solorun-redis',
    open: async (setting) => (await import('./contenders/node-cron.js')).nodeCron(setting),
  },
  bullmq: {
    title: 'BullMQ alone',
    store: 'redis with a log',
    packages: ['bullmq'],
    docs: 'https://docs.bullmq.io/guide/workers/stalled-jobs',
    recipe:
      'Ticks are jobs of a job scheduler that each replica upserts. A long job is one job of the queue. `lockDuration` and `stalledInterval` are the time of the lock. Redis keeps a log, its append-only file, as [its guide](https://docs.bullmq.io/guide/going-to-production) asks for. It reports a loss by the event `lockRenewalFailed` of the worker.',
    beside: 'solorun-redis-log',
    open: async (setting) => (await import('./contenders/bullmq.js')).bullmq(setting),
  },
  'solorun-redis': ours('redis', 'Solorun on Redis', 'redis', '../packages/redis/README.md'),
  'solorun-redis-log': ours('redis', 'Solorun on Redis with a log', 'redis with a log', '../packages/redis/README.md'),
  'advisory-lock': {
    title: 'advisory-lock',
    store: 'postgres',
    packages: ['advisory-lock'],
    docs: 'https://github.com/olalonde/advisory-lock#example',
    recipe: 'Ticks call `tryLock()`. A long job calls `withLock()`. There is nothing to ask.',
    beside: 'solorun-advisory',
    open: async (setting) => (await import('./contenders/advisory-lock.js')).advisoryLock(setting),
  },
  'solorun-advisory': ours('advisory', 'Solorun on Postgres session locks', 'postgres', '../packages/postgres/README.md'),
  'solorun-lease': ours('lease', 'Solorun on Postgres lease rows', 'postgres', '../packages/postgres/README.md'),
  'proper-lockfile': {
    title: 'proper-lockfile',
    store: 'files',
    packages: ['proper-lockfile'],
    docs: 'https://github.com/moxystudio/node-proper-lockfile#usage',
    recipe:
      '`lock()` with `stale` and `onCompromised`. Ticks do not retry. A long job retries each 100 ms, and asks whether `onCompromised` was called.',
    beside: 'solorun-lockfile',
    open: async (setting) => (await import('./contenders/proper-lockfile.js')).properLockfile(setting),
  },
  'solorun-lockfile': ours('lockfile', 'Solorun on lock files', 'files', '../packages/lockfile/README.md'),
};

/**
 * @param {string} provider
 * @param {string} title
 * @param {StoreKind} store
 * @param {string} docs
 * @returns {Contender}
 */
function ours(provider, title, store, docs) {
  return {
    title,
    store,
    docs,
    packages: [],
    ours: true,
    recipe: 'Ticks are `schedule()` of `@solorun/node-cron`. A long job is `solo.run()` that waits, and asks `signal.aborted`.',
    async open(setting) {
      const { providers, solorun } = await import('./contenders/solorun.js');
      const openProvider = providers[provider];
      if (openProvider === undefined) throw new Error(`There is no provider ${provider}.`);
      return solorun(setting, openProvider);
    },
  };
}

/**
 * With their versions, as they are pinned.
 *
 * @param {Contender} contender
 */
export function packagesOf({ packages }) {
  const { dependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return packages.map((name) => `${name} ${dependencies[name]}`);
}
