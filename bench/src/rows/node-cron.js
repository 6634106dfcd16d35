// @ts-check
// How long after its instant a handler starts.

import { createSolo } from '@solorun/core';
import { schedule as scheduleOnce } from '@solorun/node-cron';
import { postgresAdvisory } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { schedule } from 'node-cron';
import { connect } from '../contenders/connect.js';
import { pinTogether } from '../pin.js';
import { withPostgres, withRedis } from '../stage.js';
import { median, quantile } from '../statistics.js';

/** @import { TaskContext } from 'node-cron' */
/** @import { Identity } from '../result.js' */
/** @import { Row } from '../rows.js' */

/**
 * One way to be called at an instant; `started` is to be called first thing.
 *
 * @typedef {Identity & {
 *   readonly start: (expression: string, started: (date: Date) => void) => { destroy: () => unknown },
 * }} Contender
 */

/** @type {Row} */
export const nodeCron = {
  name: 'node-cron',
  title: 'From the instant of a schedule to the start of its handler, with node-cron',
  run: ({ ticks }) =>
    withRedis((redisServer) =>
      withPostgres(async ({ url, pid }) => {
        const client = await connect(url);
        await client.query('CREATE TABLE raw_tick (name text PRIMARY KEY, at timestamptz NOT NULL)');
        const claim = {
          name: 'claim',
          text: `INSERT INTO raw_tick AS t VALUES ('job', $1) ON CONFLICT (name) DO UPDATE SET at = excluded.at
            WHERE t.at < excluded.at RETURNING 1`,
        };
        const onPostgres = createSolo({ provider: postgresAdvisory({ connectionString: url }) });
        const onRedis = createSolo({ provider: redis({ url: redisServer.url, settleMs: 0 }) });
        /** @type {readonly Contender[]} */
        const contenders = [
          {
            ...{ id: 'ours', name: '`schedule` on `postgresAdvisory`', role: 'ours' },
            start: (expression, started) => scheduleOnce(onPostgres, expression, ({ date }) => started(date), { name: 'job' }),
          },
          {
            ...{ id: 'redis', name: '`schedule` on `redis`', role: 'ours' },
            start: (expression, started) => scheduleOnce(onRedis, expression, ({ date }) => started(date), { name: 'job' }),
          },
          {
            ...{ id: 'raw', name: 'node-cron, and a committed claim by hand', role: 'floor' },
            start: (expression, started) =>
              schedule(expression, async ({ date }) => {
                if ((await client.query({ ...claim, values: [date] })).rowCount === 1) started(date);
              }),
          },
          {
            ...{ id: 'bare', name: 'node-cron alone', role: 'aside' },
            start: (expression, started) => schedule(expression, ({ date }) => started(date)),
          },
        ];
        pinTogether(pid);
        pinTogether(redisServer.pid);
        try {
          const late = await Promise.all(contenders.map((contender, index) => measure(contender, index, contenders.length, ticks)));
          return {
            ...{ heading: 'median', unit: 'ms', floor: 'raw' },
            how: 'Each has a second of its own in turn. Claims are flushed to the disk, but for those on Redis. All on one processor.',
            lines: contenders.map(({ id, name, role }, index) => {
              const own = late[index] ?? [];
              return {
                ...{ id, name, role, value: median(own), segments: own, count: own.length },
                also: { 'p90, ms': quantile(own, 0.9) },
              };
            }),
          };
        } finally {
          await onPostgres.close();
          await onRedis.close();
          await client.end();
        }
      }),
    ),
};

/**
 * How late the ticks were, in ms; the first one, which opens connections, is left out.
 *
 * @param {Contender} contender
 * @param {number} index
 * @param {number} of how many take turns
 * @param {number} ticks
 * @returns {Promise<number[]>}
 */
function measure({ start }, index, of, ticks) {
  const seconds = Array.from({ length: 60 }, (_, second) => second).filter((second) => second % of === index);
  /** @type {number[]} */
  const late = [];
  return new Promise((resolve) => {
    const task = start(`${seconds.join(',')} * * * * *`, (date) => {
      late.push(performance.timeOrigin + performance.now() - date.getTime());
      if (late.length <= ticks) return;
      void task.destroy();
      resolve(late.slice(1));
    });
  });
}
