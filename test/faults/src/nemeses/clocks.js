// @ts-check
// Clocks that are set while everything runs.

import { faketimeMissing } from '@solorun/servers/clock';
import { setTimeout as sleep } from 'node:timers/promises';
import { excludes } from '../excluded.js';
import { victim } from '../victim.js';

/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName, Place } from '../places.js' */

/** @type {readonly PageName[]} */
const servers = ['advisory', 'lease', 'redis'];

/** The places whose clock has been set. It is set once a round: setting it right again would be a step the other way. @type {WeakSet<Place>} */
const set = new WeakSet();

/** @param {Scene} scene @param {1 | -1} direction */
async function setClock({ place, random, job }, direction) {
  set.add(place);
  const server = place.postgres ?? place.redis;
  server?.setClock(direction * random.between(3_000, 10_000));
  await sleep(job.leaseMs * 3);
}

export const clocks = /** @satisfies {Record<string, Nemesis>} */ ({
  'server-clock-back': {
    title: "the server's clock is set back by some seconds",
    on: servers,
    missing: faketimeMissing,
    needs: 'server clock',
    // Every occurrence lies ahead from then on: by more than `wait` waits.
    job: { onBusy: 'standby' },
    spent: ({ place }) => set.has(place),
    strike: (scene) => setClock(scene, -1),
  },
  'server-clock-forward': {
    title: "the server's clock is set forward by some seconds",
    on: servers,
    missing: faketimeMissing,
    needs: 'server clock',
    spent: ({ place }) => set.has(place),
    strike: (scene) => setClock(scene, 1),
    // Until the holder's next renewal.
    excluded: excludes('Exclusion while the clock that ends leases is stepped forward', {
      kinds: ['overlap', 'told too late'],
      leases: 0.4,
    }),
  },
  'replica-clock': {
    title: "a replica's clock is set forward or back by up to half a minute",
    on: ['advisory', 'lease', 'redis', 'redis-cluster'],
    missing: faketimeMissing,
    needs: 'replica clocks',
    async strike({ fleet, random, job }) {
      const { clock } = victim({ fleet, random }).link;
      clock?.set(random.pick([-1, 1]) * random.between(job.leaseMs, 30_000));
      await sleep(job.leaseMs * 2);
      clock?.set(0);
    },
  },
});
