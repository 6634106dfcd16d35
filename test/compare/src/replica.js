// @ts-check

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openJournal } from '@solorun/faults/journal';
import { until } from '@solorun/servers/witness';

/** @import { Line } from '@solorun/faults/journal' */
/** @import { Orders } from './worker.js' */

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/** Far above the time that a process takes to start, in ms, also on a machine that is too busy. */
const STARTED_MS = 180_000;

/**
 * @typedef {object} Replica
 * @property {() => void} go It begins to compete.
 * @property {() => readonly Line[]} lines Its journal so far, with `crashed` if its process ended by itself.
 * @property {(kind: Line['kind'], ms?: number) => Promise<void>} does Resolves when it has written such a line.
 * @property {(signal: NodeJS.Signals) => void} signal
 * @property {() => Promise<void>} kill
 */

/**
 * Resolves when the replica is ready to compete.
 *
 * @param {Omit<Orders, 'journal'>} orders
 * @param {string} directory
 * @returns {Promise<Replica>}
 */
export async function startReplica(orders, directory) {
  const journal = join(directory, `${orders.label}.jsonl`);
  const errors = join(directory, `${orders.label}.err`);
  const { note, close } = openJournal(journal, orders.label);
  let ending = false;
  let gone = false;
  let went = false;
  /** @type {import('node:child_process').ChildProcess} */
  let child;
  let ended = Promise.resolve();

  const start = () => {
    const output = openSync(errors, 'a');
    const program = spawn(process.execPath, ['--no-warnings', WORKER, JSON.stringify({ ...orders, journal })], {
      stdio: ['pipe', 'ignore', output],
    });
    closeSync(output);
    program.stdin?.on('error', () => {});
    if (went) program.stdin?.write('go\n');
    child = program;
    ended = once(program, 'exit').then(([status, signal]) => {
      if (ending) return;
      note({ kind: 'crashed', result: `ended with ${signal ?? status}: ${readFileSync(errors, 'utf8').trim().slice(-2_000)}` });
      // A supervisor starts it again. The trial looks no further at a holder that has crashed.
      if (orders.work === 'hold') start();
      else gone = true;
    });
  };
  const { lines, end } = follow(journal);
  const does = (/** @type {Line['kind']} */ kind, ms = 60_000) =>
    until(`${orders.contender}: ${orders.label} does ${kind}`, () => lines().some((line) => line.kind === kind), ms);

  start();
  await until(
    `${orders.contender}: ${orders.label} is up`,
    () => {
      if (gone) throw new Error(`${orders.contender}: ${readFileSync(errors, 'utf8')}`);
      return lines().some(({ kind }) => kind === 'up');
    },
    STARTED_MS,
  );
  return {
    lines,
    does,
    go() {
      went = true;
      child.stdin?.write('go\n');
    },
    signal: (signal) => void child.kill(signal),
    async kill() {
      if (ending) return;
      ending = true;
      child.kill('SIGKILL');
      await ended;
      close();
      end();
    },
  };
}

/**
 * Reads a journal as it grows: it is looked at many times a second, by many trials.
 *
 * @param {string} journal
 */
function follow(journal) {
  const file = openSync(journal, 'r');
  const buffer = Buffer.alloc(65_536);
  /** @type {Line[]} */
  const known = [];
  let rest = '';
  let isOpen = true;
  const lines = () => {
    for (let size = isOpen ? readSync(file, buffer) : 0; size > 0; size = readSync(file, buffer)) {
      const pieces = (rest + buffer.toString('latin1', 0, size)).split('\n');
      rest = pieces.pop() ?? '';
      known.push(...pieces.map((piece) => /** @type {Line} */ (JSON.parse(Buffer.from(piece, 'latin1').toString()))));
    }
    return known;
  };
  return {
    lines,
    /** The lines stay. */
    end: () => {
      lines();
      isOpen = false;
      closeSync(file);
    },
  };
}
