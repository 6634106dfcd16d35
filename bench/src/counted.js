// @ts-check
// What contenders ask of a server: counted on the wire, which needs no quiet machine.

import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@solorun/servers/network';
import { withAll } from './stage.js';

/** @import { Contender } from './interleaved.js' */
/** @import { Line } from './result.js' */

/** What is written down after the fact is sent by then, in ms. */
const AFTERWARDS_MS = 100;

/**
 * @typedef {object} Counts
 * @property {number} statements For each cycle.
 * @property {number} connections Opened for each cycle.
 */

/**
 * Counts one contender after the other, one cycle after the other.
 *
 * @param {{ readonly port: number, readonly url: string }} server
 * @param {(url: string) => readonly (Contender | Promise<Contender>)[]} open
 * @param {number} cycles
 * @returns {Promise<ReadonlyMap<string, Counts>>} by their ids
 */
export async function countPerCycle({ port, url }, open, cycles) {
  const proxy = await startProxy({ port });
  /** @type {Map<string, Counts>} */
  const counts = new Map();
  try {
    await withAll(open(proxy.through(url)), async (/** @type {Contender[]} */ contenders) => {
      for (const { id, cycle } of contenders) {
        await cycle(0);
        await sleep(AFTERWARDS_MS);
        const before = { roundTrips: proxy.roundTrips, connections: proxy.connections };
        for (let each = 0; each < cycles; each += 1) await cycle(0);
        await sleep(AFTERWARDS_MS);
        counts.set(id, {
          // None of them sends a statement before the last one of its connection has been answered.
          statements: (proxy.roundTrips - before.roundTrips) / cycles,
          connections: (proxy.connections - before.connections) / cycles,
        });
      }
    });
  } finally {
    await proxy.stop();
  }
  return counts;
}

/**
 * @param {readonly Line[]} lines
 * @param {ReadonlyMap<string, Counts>} counts
 * @returns {Line[]}
 */
export function withCounts(lines, counts) {
  return lines.map((line) => {
    const { statements = Number.NaN, connections = Number.NaN } = counts.get(line.id) ?? {};
    return { ...line, also: { ...line.also, 'statements per cycle': statements, 'connections per cycle': connections } };
  });
}
