// @ts-check

import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@solorun/servers/network';
import { connectRedis } from '../contenders/redis.js';
import { unpin } from '../pin.js';
import { startReplica } from '../replica.js';
import { withPostgres, withRedis } from '../stage.js';
import { prepare } from './handoff.js';

/** @import { Effort } from '../effort.js' */
/** @import { Identity, Line } from '../result.js' */
/** @import { Row } from '../rows.js' */

/** @type {readonly (Identity & { readonly queue: string })[]} */
const strategies = [
  { id: 'advisory', name: '`run()` that waits, on `postgresAdvisory`', role: 'ours', queue: 'solo-advisory' },
  { id: 'lease', name: '`run()` that waits, on `postgresLease`', role: 'ours', queue: 'solo-lease' },
  { id: 'advisory-lock', name: 'advisory-lock', role: 'peer', queue: 'advisory-lock' },
  { id: 'verrou', name: '@verrou/core on kysely, a pool of 10', role: 'peer', queue: 'verrou' },
];

/** @type {Row} */
export const waiters = {
  name: 'waiters',
  title: '200 that wait for one name, in one process',
  run: (effort) =>
    // One connection per waiter is what one of them takes; the default of 100 would not do.
    withPostgres(
      async ({ url, port }) => {
        await prepare(url);
        unpin();
        const lines = [];
        for (const { queue, ...identity } of strategies) lines.push({ ...identity, ...(await wait(queue, { url, port }, effort)) });
        return {
          ...{ heading: 'sent', unit: 'statements/s' },
          how: `Another process holds the lock all the time. Counted between the waiting process and the server, for ${effort.windowMs / 1000} s.`,
          lines,
        };
      },
      { max_connections: 300 },
    ),
};

/** @type {readonly (Identity & { readonly queue: string })[]} */
const onRedis = [
  { id: 'redis', name: '`run()` that waits, on `redis`', role: 'ours', queue: 'solo-redis' },
  { id: 'redis-semaphore', name: 'redis-semaphore', role: 'peer', queue: 'redis-semaphore' },
  { id: 'redlock', name: 'redlock 5 beta', role: 'peer', queue: 'redlock' },
  { id: 'verrou', name: '@verrou/core on ioredis', role: 'peer', queue: 'verrou-redis' },
];

/** @type {Row} */
export const waitersRedis = {
  name: 'waiters-redis',
  title: '200 that wait for one name on Redis, in one process',
  run: (effort) =>
    withRedis(async ({ url, port }) => {
      unpin();
      const lines = [];
      const monitor = await (await connectRedis(url)).monitor();
      let sent = 0;
      // Packages send several commands at once, so round trips would not do. What a script does inside the server was sent by nobody.
      monitor.on('monitor', (_time, _command, source) => {
        if (source !== 'lua') sent += 1;
      });
      try {
        for (const { queue, ...identity } of onRedis) {
          lines.push({ ...identity, ...(await wait(queue, { url, port }, effort, () => sent)) });
        }
      } finally {
        monitor.disconnect();
      }
      return {
        ...{ heading: 'sent', unit: 'commands/s' },
        how: `Another process holds the lock all the time. Counted by the server, for ${effort.windowMs / 1000} s.`,
        lines,
      };
    }),
};

/**
 * @param {string} queue
 * @param {{ url: string, port: number }} server
 * @param {Effort} effort
 * @param {() => number} [counter] of what was sent; otherwise what went through the wire
 * @returns {Promise<Omit<Line, keyof Identity>>}
 */
async function wait(queue, { url, port }, { waiters: count, windowMs }, counter) {
  const proxy = await startProxy({ port });
  const running = [];
  try {
    const holder = await startReplica(queue, url);
    running.push(holder);
    await holder.take();
    await holder.held();
    const crowd = await startReplica(queue, proxy.through(url));
    running.push(crowd);
    await crowd.take(count);
    // Connections are opened, and the first looks taken.
    await sleep(Math.min(3_000, windowMs));
    const sent = counter ?? (() => proxy.roundTrips);
    const before = { statements: sent(), cpuMs: await crowd.cpu(), at: performance.now() };
    await sleep(windowMs);
    const ms = performance.now() - before.at;
    // No statement here is sent before the last one of its connection has been answered, so round trips are statements.
    const perSecond = ((sent() - before.statements) / ms) * 1000;
    const cpuMs = (await crowd.cpu()) - before.cpuMs;
    return {
      ...{ value: perSecond, segments: [perSecond], count },
      also: { sessions: proxy.open, 'client CPU, %': (cpuMs / ms) * 100 },
    };
  } finally {
    await Promise.all(running.map((replica) => replica.kill()));
    await proxy.stop();
  }
}
