// @ts-check
// The ways to wait for one lock, by the names under which a program that is started for it is told of them.

/**
 * @typedef {object} Queue
 * @property {() => Promise<() => unknown>} take Resolves, with what gives it back, when the lock is held.
 * @property {(count: number) => Promise<unknown>} [keep] Takes that many other locks, for as long as the process lives.
 * @property {() => unknown} [close]
 */

/** All of them wait for this one. */
export const LOCK = 'the-one';

/** @typedef {keyof typeof kinds} Kind */

/** Imported one by one, so that each process loads what it uses. */
const kinds = {
  'solo-advisory': (/** @type {string} */ url) => import('./solo.js').then(({ onAdvisory }) => onAdvisory(url)),
  'solo-lease': (/** @type {string} */ url) => import('./solo.js').then(({ onLease }) => onLease(url)),
  'solo-lockfile': (/** @type {string} */ directory) => import('./solo.js').then(({ onLockfile }) => onLockfile(directory)),
  'solo-redis': (/** @type {string} */ url) => import('./solo.js').then(({ onRedis }) => onRedis(url)),
  'raw-publish': (/** @type {string} */ url) => import('./redis.js').then(({ published }) => published(url)),
  'redis-semaphore': (/** @type {string} */ url) => import('./redis.js').then(({ redisSemaphore }) => redisSemaphore(url)),
  redlock: (/** @type {string} */ url) => import('./redis.js').then(({ redlock }) => redlock(url)),
  'verrou-redis': (/** @type {string} */ url) => import('./redis.js').then(({ verrou }) => verrou(url)),
  'raw-blocking': (/** @type {string} */ url) => import('./raw.js').then(({ blocking }) => blocking(url)),
  'raw-notify': (/** @type {string} */ url) => import('./raw.js').then(({ notified }) => notified(url)),
  'raw-watch': (/** @type {string} */ directory) => import('./raw.js').then(({ watched }) => watched(directory)),
  'advisory-lock': (/** @type {string} */ url) => import('./packages.js').then(({ advisoryLock }) => advisoryLock(url)),
  verrou: (/** @type {string} */ url) => import('./packages.js').then(({ verrou }) => verrou(url)),
  'proper-lockfile': (/** @type {string} */ directory) => import('./packages.js').then(({ proper }) => proper(directory)),
};

/**
 * @param {string} kind
 * @param {string} store a URL or a directory
 * @returns {Promise<Queue>}
 */
export function openQueue(kind, store) {
  const open = kinds[/** @type {Kind} */ (kind)];
  if (open === undefined) throw new Error(`There is no queue called ${kind}.`);
  return open(store);
}
