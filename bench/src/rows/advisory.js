// @ts-check

import { alone, ALONE } from '../alone.js';
import { advisoryLockPackage } from '../contenders/advisory-lock.js';
import { rawAdvisory, twoSelects } from '../contenders/raw.js';
import { soloOnAdvisory } from '../contenders/solo.js';
import { verrou } from '../contenders/verrou.js';
import { countPerCycle, withCounts } from '../counted.js';
import { allAtOnce, oneByOne } from '../interleaved.js';
import { pinApart, pinTogether } from '../pin.js';
import { withAll, withPostgres } from '../stage.js';

/** @import { Row } from '../rows.js' */
/** @import { Contender, Sliced } from '../interleaved.js' */

/** @type {Row} */
export const advisory = {
  name: 'advisory',
  title: 'Session locks of Postgres, one after the other',
  run: ({ segments, turns }) =>
    withPostgres(async (server) => {
      const { url, pid } = server;
      /** @param {string} address */
      const open = (address) => [
        soloOnAdvisory(address),
        rawAdvisory(address),
        twoSelects(address),
        verrou(address),
        advisoryLockPackage(address),
      ];
      const counts = await countPerCycle(server, open, 6 * turns);
      return withAll(open(url), async (/** @type {Contender[]} */ contenders) => {
        pinTogether(pid);
        return {
          ...{ heading: 'p50', unit: 'µs', floor: 'raw' },
          how: 'Lock, run a handler that does nothing, unlock. All on one processor. Statements and connections counted beside.',
          lines: withCounts(await oneByOne(contenders, { segments, turns }), counts),
        };
      });
    }),
};

/** @type {Row} */
export const advisoryAtOnce = {
  name: 'advisory-64',
  title: 'Session locks of Postgres, 64 names at once in one process',
  run: ({ rounds, sliceMs }) =>
    withPostgres(({ url, pid }) =>
      withAll(
        [
          alone('solo.js', 'soloOnAdvisory', url),
          alone('raw.js', 'rawAdvisory', url, { pipeline: true }),
          alone('verrou.js', 'verrou', url),
          alone('advisory-lock.js', 'advisoryLockPackage', url),
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
