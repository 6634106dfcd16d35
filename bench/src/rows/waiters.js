// @ts-check

import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@solorun/servers/network';
import { unpin } from '../pin.js';
import { startReplica } from '../replica.js';
import { withPostgres } from '../stage.js';
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

/**
 * @param {string} queue
 * @param {{ url: string, port: number }} server
 * @param {Effort} effort
 * @returns {Promise<Omit<Line, keyof Identity>>}
 */
async function wait(queue, { url, port }, { waiters: count, windowMs }) {
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
    const before = { statements: proxy.roundTrips, cpuMs: await crowd.cpu(), at: performance.now() };
    await sleep(windowMs);
    const ms = performance.now() - before.at;
    // No statement here is sent before the last one of its connection has been answered, so round trips are statements.
    const perSecond = ((proxy.roundTrips - before.statements) / ms) * 1000;
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
