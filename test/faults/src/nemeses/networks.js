// @ts-check
// What happens between replicas and their server.

import { setTimeout as sleep } from 'node:timers/promises';
import { victim } from '../victim.js';

/** @import { Direction, Proxy } from '@solorun/servers/network' */
/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName } from '../places.js' */

/** @type {readonly PageName[]} */
const servers = ['advisory', 'lease', 'redis', 'redis-cluster'];

/** @param {Scene} scene @param {Direction} [direction] */
async function cut({ fleet, random, job }, direction) {
  const { network } = victim({ fleet, random }).link;
  network?.cut(direction);
  await sleep(random.between(Math.round(0.2 * job.leaseMs), Math.round(2.5 * job.leaseMs)));
  network?.mend();
}

/** @param {Scene} scene */
const proxyOf = ({ fleet, random }) => /** @type {Proxy} */ (victim({ fleet, random }).link.network);

export const networks = /** @satisfies {Record<string, Nemesis>} */ ({
  cut: { title: 'a cable is cut', on: servers, strike: (scene) => cut(scene) },
  'cut-up': { title: 'a cable carries nothing to the server', on: servers, strike: (scene) => cut(scene, 'up') },
  'cut-down': { title: 'a cable carries no answers', on: servers, strike: (scene) => cut(scene, 'down') },
  'lost-answers': {
    title: 'answers are lost with their connection, after the commit',
    on: servers,
    async strike(scene) {
      const proxy = proxyOf(scene);
      proxy.cut('down');
      await sleep(scene.random.between(20, 300));
      proxy.breakAll();
      proxy.mend();
    },
  },
  reset: {
    title: 'connections are reset',
    on: servers,
    strike: async (scene) => proxyOf(scene).breakAll(),
  },
  slow: {
    title: 'a server answers later than half a lease',
    on: servers,
    async strike(scene) {
      const proxy = proxyOf(scene);
      // There and back.
      proxy.delay(scene.random.between(Math.round(0.1 * scene.job.leaseMs), Math.round(0.4 * scene.job.leaseMs)));
      await sleep(scene.job.leaseMs * 2);
      proxy.delay(0);
    },
  },
});
