// @ts-check
// What happens to a Redis.

import { setTimeout as sleep } from 'node:timers/promises';
import { excludes } from '../excluded.js';
import { command } from '../places/redis.js';

/** @import { Redis } from '@solorun/servers/redis' */
/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName } from '../places.js' */

/** @type {readonly PageName[]} */
const both = ['redis', 'redis-cluster'];

/** @param {Scene} scene @returns {Redis} */
function serverOf({ place }) {
  if (place.redis === undefined) throw new Error('This nemesis is for Redis.');
  return place.redis;
}

export const redisServers = /** @satisfies {Record<string, Nemesis>} */ ({
  'redis-crash': {
    title: 'the server is killed (SIGKILL) and started, without its data',
    on: ['redis'],
    async strike(scene) {
      await serverOf(scene).kill();
      await sleep(scene.random.between(0, 500));
      await serverOf(scene).start();
      // It settles.
      await sleep(scene.job.leaseMs);
    },
    excluded: excludes(
      'What it loses in a crash or a fail-over, it does not remember to have run: such an occurrence may run again',
      { kinds: ['duplicate', 'out of order'] },
    ),
  },
  'redis-freeze': {
    title: 'the server stands still',
    on: both,
    async strike(scene) {
      serverOf(scene).freeze();
      await sleep(scene.random.between(Math.round(0.3 * scene.job.leaseMs), scene.job.leaseMs * 2));
      serverOf(scene).thaw();
    },
  },
  'redis-pause': {
    title: 'CLIENT PAUSE',
    on: both,
    async strike(scene) {
      const ms = scene.random.between(Math.round(0.3 * scene.job.leaseMs), scene.job.leaseMs * 2);
      await command(serverOf(scene).url, 'CLIENT', 'PAUSE', ms, scene.random.pick(['WRITE', 'ALL']));
      await sleep(ms);
    },
  },
  'redis-slow-script': {
    title: 'a script of somebody else keeps the server busy',
    on: both,
    async strike(scene) {
      const ms = scene.random.between(200, scene.job.leaseMs);
      const script = `local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + ${ms}
        repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e`;
      await command(serverOf(scene).url, 'EVAL', script, 0);
    },
  },
  'redis-full': {
    title: 'its memory is full',
    on: both,
    async strike(scene) {
      const { url } = serverOf(scene);
      await command(url, 'CONFIG', 'SET', 'maxmemory', 1);
      await sleep(scene.job.leaseMs * 2);
      await command(url, 'CONFIG', 'SET', 'maxmemory', 0);
    },
  },
  'redis-min-replicas': {
    title: 'writes are refused, as too few replicas follow (min-replicas-to-write)',
    on: ['redis'],
    async strike(scene) {
      const { url } = serverOf(scene);
      await command(url, 'CONFIG', 'SET', 'min-replicas-to-write', 1);
      await sleep(scene.job.leaseMs * 2);
      await command(url, 'CONFIG', 'SET', 'min-replicas-to-write', 0);
    },
  },
  'redis-kill-clients': {
    title: 'CLIENT KILL',
    on: both,
    strike: async (scene) => void (await command(serverOf(scene).url, 'CLIENT', 'KILL', 'TYPE', 'normal')),
  },
  'redis-flush': {
    title: 'FLUSHALL',
    on: both,
    strike: async (scene) => void (await command(serverOf(scene).url, 'FLUSHALL')),
    excluded: excludes("Anything after a lock's key was removed or renamed under its holder on Redis", {
      kinds: ['overlap', 'duplicate', 'out of order', 'told too late'],
      leases: 0.4,
    }),
  },
});
