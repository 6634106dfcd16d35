// @ts-check
// The replicas of a round: started, hit, started again, and stopped in the end.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { now, openJournal, readJournals } from './journal.js';

/** @import { ChildProcess } from 'node:child_process' */
/** @import { Line } from './journal.js' */
/** @import { Link } from './places.js' */
/** @import { Job } from './worker.js' */

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));
/** In a checkout. */
export const WORKER_THERE = 'test/faults/src/worker.js';
/** A replica that has not started or ended by then never will, in ms; far above what either takes on a busy machine. */
const PATIENCE_MS = 60_000;

/**
 * @typedef {object} Member A replica's place in the fleet. When its process is killed, another one takes the place.
 * @property {number} slot
 * @property {Link} link How it reaches the store.
 * @property {number} pid
 * @property {string} label Of the process.
 * @property {(signal: NodeJS.Signals) => void} signal
 * @property {(line: string) => void} write
 * @property {() => Promise<void>} up Until its process has started, or has ended.
 * @property {(others?: Partial<Job>) => Promise<void>} kill SIGKILL, and another process in its place, which does its job in this way.
 */

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
  /** @type {string[]} */
  const files = [];
  const journal = (/** @type {string} */ label) => {
    const file = join(directory, `${label}.jsonl`);
    files.push(file);
    return file;
  };
  const harness = openJournal(journal('harness'), 'harness');
  let stopping = false;

  /** @param {Link} link @param {number} slot */
  const member = async (link, slot) => {
    const worker = beside !== undefined && slot === links.length - 1 ? join(beside, WORKER_THERE) : WORKER;
    let generation = 0;
    let label = '';
    /** @type {ChildProcess} */
    let child;
    let ended = Promise.resolve();
    let errors = '';
    /** @type {ChildProcess | undefined} */
    let expected;

    /** @param {Partial<Job>} [others] */
    const start = async (others = {}) => {
      generation += 1;
      label = `r${slot}.${generation}`;
      errors = join(directory, `${label}.err`);
      const orders = { ...job, ...others, label, store: link.store, journal: journal(label), lateMs: lateMs(slot) };
      const [file, ...args] = [...(link.within ?? []), process.execPath, '--no-warnings', worker, JSON.stringify(orders)];
      const output = openSync(errors, 'a');
      const mine = spawn(file, args, { stdio: ['pipe', output, output], env: { ...process.env, ...link.env }, cwd: directory });
      closeSync(output);
      child = mine;
      const mineLabel = label;
      mine.stdin?.on('error', () => {});
      ended = once(mine, 'exit').then(([status, signal]) => {
        if (expected === mine || (stopping && status === 0)) return;
        const said = readFileSync(errors, 'utf8').trim().slice(-2_000);
        harness.note({ kind: 'crashed', id: mineLabel, result: `ended with ${signal ?? status}: ${said}` });
      });
    };
    const isUp = () => readJournals([join(directory, `${label}.jsonl`)]).some(({ kind }) => kind === 'up');
    const up = async () => {
      for (const deadline = now() + PATIENCE_MS; now() < deadline; await sleep(20)) {
        if (child.exitCode !== null || child.signalCode !== null || isUp()) return;
      }
      throw new Error(`${label} did not start: ${readFileSync(errors, 'utf8')}`);
    };
    await start();
    await up();

    return {
      slot,
      link,
      get pid() {
        return child.pid ?? 0;
      },
      get label() {
        return label;
      },
      signal: (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal),
      write: (/** @type {string} */ line) => void child.stdin?.write(`${line}\n`),
      async kill(/** @type {Partial<Job> | undefined} */ others) {
        expected = child;
        harness.note({ kind: 'killed', id: label });
        child.kill('SIGKILL');
        await ended;
        await start(others);
      },
      up,
      async end() {
        expected = child;
        child.kill('SIGKILL');
        await ended;
      },
      async stop() {
        await up();
        child.stdin?.write('stop\n');
        const patience = setTimeout(() => {
          expected = child;
          const closed = readJournals([join(directory, `${label}.jsonl`)]).some(({ kind }) => kind === 'closed');
          harness.note({ kind: 'hung', id: label, result: closed ? 'left open' : 'hangs' });
          child.kill('SIGKILL');
        }, PATIENCE_MS);
        await ended;
        clearTimeout(patience);
      },
    };
  };

  const members = await Promise.all(links.map(member));
  return {
    members,
    note: (kind, name) => harness.note({ kind, name }),
    async stop() {
      stopping = true;
      await Promise.all(members.map((each) => each.stop()));
      harness.close();
    },
    kill: async () => void (await Promise.all(members.map((each) => each.end()))),
    lines: () => readJournals(files),
  };
}
