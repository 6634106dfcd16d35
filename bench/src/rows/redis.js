// @ts-check

import { redis as redisProvider } from '@solorun/redis';
import { alone, ALONE } from '../alone.js';
import { rawRedis, redisSemaphore, redlock, verrouRedis } from '../contenders/redis.js';
import { soloOnRedis, soloRun } from '../contenders/solo.js';
import { countPerCycle, withCounts } from '../counted.js';
import { allAtOnce, oneByOne } from '../interleaved.js';
import { pinApart, pinTogether } from '../pin.js';
import { withAll, withRedis } from '../stage.js';

/** @import { Row } from '../rows.js' */
/** @import { Contender, Sliced } from '../interleaved.js' */

/** @param {string} url */
const open = (url) => [soloOnRedis(url), rawRedis(url), redisSemaphore(url), redlock(url), verrouRedis(url)];

let at = 0;

/** Each run is for an occurrence of its own, later than all before. @param {string} url */
function withOccurrence(url) {
  return soloRun(
    { id: 'occurrence', name: '`run()` with an occurrence' },
    redisProvider({ url, settleMs: 0 }),
    () => {},
    () => ({
      occurrence: new Date((at += 1)),
    }),
  );
}

/** @type {Row} */
export const redis = {
  name: 'redis',
  title: 'Locks on Redis, one after the other',
  run: ({ segments, turns }) =>
    withRedis(async (server) => {
      const { url, pid } = server;
      const counts = await countPerCycle(server, (address) => [...open(address), withOccurrence(address)], 6 * turns);
      return withAll([...open(url), withOccurrence(url)], async (/** @type {Contender[]} */ contenders) => {
        pinTogether(pid);
        return {
          ...{ heading: 'p50', unit: 'µs', floor: 'raw' },
          how:
            'Acquire, run a handler that does nothing, release. Ours mints a fence and keeps a record and the high-water mark of ' +
            'occurrences; the floor and the others keep nothing. All on one processor. Redis keeps nothing on the disk.',
          lines: withCounts(await oneByOne(contenders, { segments, turns }), counts),
        };
      });
    }),
};

/** @type {Row} */
export const redisAtOnce = {
  name: 'redis-64',
  title: 'Locks on Redis, 64 names at once in one process',
  run: ({ rounds, sliceMs }) =>
    withRedis(({ url, pid }) =>
      withAll(
        [
          alone('solo.js', 'soloOnRedis', url),
          alone('redis.js', 'rawRedis', url),
          alone('redis.js', 'redisSemaphore', url),
          alone('redis.js', 'redlock', url),
          alone('redis.js', 'verrouRedis', url),
        ],
        async (/** @type {Sliced[]} */ contenders) => {
          pinApart(pid);
          return {
            ...{ heading: 'median', unit: 'cycles/s', floor: 'raw', how: ALONE },
            lines: await allAtOnce(contenders, { rounds, sliceMs, locks: 64 }),
          };
        },
      ),
    ),
};
