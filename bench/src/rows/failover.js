// @ts-check

import { setTimeout as sleep } from 'node:timers/promises';
import { inTurn } from '../interleaved.js';
import { pinTogether } from '../pin.js';
import { startReplica } from '../replica.js';
import { withPostgres } from '../stage.js';
import { median } from '../statistics.js';
import { prepare } from './handoff.js';

/** @import { Identity } from '../result.js' */
/** @import { Row } from '../rows.js' */
/** @import { Replica } from '../replica.js' */

/** By then a waiter has opened what it waits on, in ms. */
const SETTLED_MS = 250;

/** @type {readonly (Identity & { readonly queue: string })[]} */
const strategies = [
  { id: 'ours', name: '`run()` that waits, on `postgresAdvisory`', role: 'ours', queue: 'solo-advisory' },
  { id: 'raw', name: 'a blocking `pg_advisory_lock`', role: 'floor', queue: 'raw-blocking' },
  { id: 'advisory-lock', name: 'advisory-lock', role: 'peer', queue: 'advisory-lock' },
];

/** @type {Row} */
export const failover = {
  name: 'failover',
  title: 'Session locks of Postgres, whose holder is killed',
  run: ({ segments, kills }) =>
    withPostgres(async ({ url, pid }) => {
      await prepare(url);
      pinTogether(pid);
      /** @type {Map<string, Replica>} */
      const holders = new Map();

      /** @param {string} queue */
      const follow = async (queue) => {
        const holder = holders.get(queue);
        const waiter = await startReplica(queue, url);
        try {
          await waiter.take();
          if (holder !== undefined) await sleep(SETTLED_MS + Math.random() * 20);
          const killed = Number(process.hrtime.bigint()) / 1e6;
          const gone = holder?.kill();
          const held = await waiter.held();
          await gone;
          holders.set(queue, waiter);
          return held - killed;
        } catch (error) {
          await waiter.kill();
          throw error;
        }
      };

      try {
        for (const { queue } of strategies) await follow(queue);
        const all = strategies.map(() => /** @type {number[][]} */ ([]));
        for (let segment = 0; segment < segments; segment += 1) {
          for (const [index, { queue }] of inTurn(strategies, segment)) {
            const samples = [];
            for (let each = 0; each < kills; each += 1) samples.push(await follow(queue));
            all[index]?.push(samples);
          }
        }
        return {
          ...{ heading: 'median', unit: 'ms', floor: 'raw' },
          how: 'SIGKILL to the process that holds the lock, until the handler of the one that waits starts. All on one processor.',
          lines: strategies.map(({ id, name, role }, index) => {
            const own = all[index] ?? [];
            return {
              ...{ id, name, role, value: median(own.flat()), segments: own.map(median), count: own.flat().length },
              also: { 'worst, ms': Math.max(...own.flat()) },
            };
          }),
        };
      } finally {
        await Promise.all([...holders.values()].map((holder) => holder.kill()));
      }
    }),
};
