// @ts-check
// What a worker writes down while it works, a line of JSON each. Every line is with the kernel before the worker goes on, so a SIGKILL
// takes none of them back. All processes of a machine share the clock of these times.

import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';

/**
 * One line. `t` is in ms of the machine's monotonic clock. Each kind has its own fields:
 *
 * - `up`, `closed`: the life of a worker. By the harness, with the worker as `id`: `killed`, a SIGKILL; `crashed`, it ended by
 *   itself; `hung`, it did not end (`hangs`), or only closed (`left open`).
 * - `asked`, `answered`: a request for the lock and its end; `result` is `ran`, `failed`, the reason of a skip, or `error: …`.
 * - `begin`, `step`, `lost`, `end`: a run.  `step` carries what the lease said *after* `t`, and *before* the
 *   step was made; a handler that only listens says nothing of it.
 * - `counted`: `committed`, `refused`, or `unknown` when the answer was lost; `value` is what was written.
 * - `paused`: the pause of a lock was confirmed, which was asked for at `from` and for `value` ms; `resuming`: its end is about to be asked for.
 * - `stalled`: the event loop stood still from `from` to `t`.
 * - `fault`, `mended`: by the harness, with the title of the nemesis.
 *
 * @typedef {object} Line
 * @property {number} t
 * @property {string} worker
 * @property {'up' | 'closed' | 'killed' | 'crashed' | 'hung' | 'asked' | 'answered' | 'begin' | 'step' | 'lost' | 'end' | 'counted' | 'paused' | 'resuming' | 'stalled' | 'fault' | 'mended'} kind
 * @property {string} [id] Which request and run of this worker.
 * @property {string} [name] The lock.
 * @property {number} [at] The occurrence, in ms since 1970.
 * @property {number} [attempt]
 * @property {string} [fence]
 * @property {number} [overMs] For how long a lease had been over when its handler was called, by the worker's own clock; negative: it was not.
 * @property {boolean} [trusted] What the lease said.
 * @property {string} [result]
 * @property {string} [detail]
 * @property {number} [value]
 * @property {number} [from]
 */

/** @typedef {Omit<Line, 't' | 'worker'> & { t?: number }} Entry */

/** The machine's monotonic clock, in ms: the same for every process. */
export function now() {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/**
 * @param {string} file
 * @param {string} worker
 */
export function openJournal(file, worker) {
  const handle = openSync(file, 'a');
  return {
    /** @type {(entry: Entry) => void} */
    note: (entry) => void writeSync(handle, `${JSON.stringify({ t: now(), worker, ...entry })}\n`),
    close: () => closeSync(handle),
  };
}

/**
 * All lines of some journals, in the order of their times.
 *
 * @param {readonly string[]} files
 * @returns {Line[]}
 */
export function readJournals(files) {
  const lines = files
    .filter((file) => existsSync(file))
    .flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        // After the last newline is nothing, or half a line that is being written.
        .slice(0, -1)
        .map((line) => /** @type {Line} */ (JSON.parse(line))),
    );
  return lines.sort((a, b) => a.t - b.t);
}
