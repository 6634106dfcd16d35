// @ts-check

import { alone, ALONE } from '../alone.js';
import { rawLease } from '../contenders/raw.js';
import { soloOnLease } from '../contenders/solo.js';
import { verrou } from '../contenders/verrou.js';
import { countPerCycle, withCounts } from '../counted.js';
import { allAtOnce, oneByOne } from '../interleaved.js';
import { pinApart, pinTogether } from '../pin.js';
import { withAll, withPostgres } from '../stage.js';

/** @import { Row } from '../rows.js' */
/** @import { Contender, Sliced } from '../interleaved.js' */

/** @type {Row} */
export const lease = {
  name: 'lease',
  title: 'Lease rows in Postgres, one after the other',
  run: ({ segments, turns }) =>
    withPostgres(async (server) => {
      const { url, pid } = server;
      /** @param {string} address */
      const open = (address) => [soloOnLease(address), rawLease(address), verrou(address)];
      const counts = await countPerCycle(server, open, 6 * turns);
      return withAll(open(url), async (/** @type {Contender[]} */ contenders) => {
        pinTogether(pid);
        return {
          ...{ heading: 'p50', unit: 'µs', floor: 'raw' },
          how: 'Acquire, run a handler that does nothing, release; both are flushed to the disk. Otherwise as for session locks.',
          lines: withCounts(await oneByOne(contenders, { segments, turns }), counts),
        };
      });
    }),
};

/** @type {Row} */
export const leaseAtOnce = {
  name: 'lease-64',
  title: 'Lease rows in Postgres, 64 names at once in one process',
  run: ({ rounds, sliceMs }) =>
    withPostgres(({ url, pid }) =>
      withAll(
        [
          alone('solo.js', 'soloOnLease', url),
          alone('raw.js', 'rawLease', url, { pipeline: true }),
          alone('verrou.js', 'verrou', url),
        ],
        async (/** @type {Sliced[]} */ contenders) => {
          pinApart(pid);
          return {
            ...{ heading: 'median', unit: 'cycles/s', floor: 'raw' },
            how: ALONE,
            lines: await allAtOnce(contenders, { rounds, sliceMs, locks: 64 }),
          };
        },
      ),
    ),
};
