// @ts-check
// The replicas of a round, and their journals.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openJournal, readJournals } from './journal.js';
import { Member } from './member.js';

/** @import { Line } from './journal.js' */
/** @import { Link } from './places.js' */
/** @import { Job } from './worker.js' */

/** In a checkout. */
export const WORKER_THERE = 'test/faults/src/worker.js';
const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/**
 * @typedef {object} Fleet
 * @property {readonly Member[]} members
 * @property {(kind: 'fault' | 'mended', name: string) => void} note
 * @property {() => Promise<void>} stop All end in order, or are found to hang.
 * @property {() => Promise<void>} kill SIGKILL to all that still live, and none in their place.
 * @property {() => Line[]} lines All that was written down so far.
 */

/**
 * @param {object} options
 * @param {string} options.directory For journals.
 * @param {readonly Link[]} options.links One for each replica.
 * @param {Job} options.job
 * @param {string} [options.beside] A checkout of another version, which the last replica runs.
 * @param {(slot: number) => number} [options.lateMs] How much later than others a replica asks.
 * @returns {Promise<Fleet>}
 */
export async function startFleet({ directory, links, job, beside, lateMs = () => 0 }) {
  /** @type {Set<string>} */
  const files = new Set();
  const journal = (/** @type {string} */ label) => {
    const file = join(directory, `${label}.jsonl`);
    files.add(file);
    return file;
  };
  const harness = openJournal(journal('harness'), 'harness');
  const workerOf = (/** @type {number} */ slot) =>
    beside !== undefined && slot === links.length - 1 ? join(beside, WORKER_THERE) : WORKER;
  const members = links.map(
    (link, slot) =>
      new Member({
        slot,
        link,
        worker: workerOf(slot),
        job: { ...job, lateMs: lateMs(slot) },
        directory,
        journal,
        note: harness.note,
      }),
  );
  const kill = async () => {
    await Promise.all(members.map((member) => member.end()));
    harness.close();
  };
  for (const member of members) member.start();
  try {
    await Promise.all(members.map((member) => member.up()));
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    members,
    note: (kind, name) => harness.note({ kind, name }),
    stop: async () => void (await Promise.all(members.map((member) => member.stop()))),
    kill,
    lines: () => readJournals([...files]),
  };
}
