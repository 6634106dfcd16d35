// @ts-check
// Clocks that are set while everything runs.

import { faketimeMissing } from '@solorun/servers/clock';
import { setTimeout as sleep } from 'node:timers/promises';

/** @import { Nemesis } from '../nemeses.js' */

/** The words of docs/guarantees.md, "What is not promised". */
const FORWARD = 'Anything while the clock of the machine that keeps the files is stepped forward by more than a lease';

export const clocks = /** @satisfies {Record<string, Nemesis>} */ ({
  'server-clock-back': {
    title: "the server's clock is set back by half a minute",
    on: ['advisory', 'lease', 'redis'],
    missing: faketimeMissing,
    needs: 'server clock',
    async strike({ place, random, job }) {
      const server = place.postgres ?? place.redis;
      server?.setClock(-random.between(5_000, 30_000));
      await sleep(job.leaseMs * 3);
      server?.setClock(0);
      await sleep(job.leaseMs);
    },
    // Set right again, it has stepped forward.
    excluded: { overlap: FORWARD, 'untrusted begin': FORWARD, 'told too late': FORWARD, early: FORWARD },
  },
  'replica-clock': {
    title: "a replica's clock is set forward or back by up to half a minute",
    on: ['advisory', 'lease', 'redis', 'redis-cluster'],
    missing: faketimeMissing,
    needs: 'replica clocks',
    async strike({ fleet, random, job }) {
      const { clock } = random.pick(fleet.members).link;
      clock?.set(random.pick([-1, 1]) * random.between(job.leaseMs, 30_000));
      await sleep(job.leaseMs * 2);
      clock?.set(0);
    },
  },
});
