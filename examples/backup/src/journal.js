// @ts-check
// What replicas write down about themselves: one file each, one JSON object a line, written before the next thing is done, so that
// a killed replica has told all there was to tell. The times are of the monotonic clock, which all processes of a machine share.

import { appendFileSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { ClosedError, LeaseLostError } from '@solorun/core';

/** @typedef {{ replica: string, at: number }} Line `at` is in ms. */
/** @typedef {{ tick: string, fence: string, attempt: number }} About */
/** How a run ended. `found`: there was nothing left to do. `lost`: its lease was. `stopped`: its replica was asked to end. */
/** @typedef {'done' | 'found' | 'lost' | 'stopped' | 'failed'} Result */

/**
 * @typedef {Line & (
 *   | { event: 'up', pid: number }
 *   | { event: 'start' } & About
 *   | { event: 'step', step: string } & About
 *   | { event: 'end', result: Result, error?: string } & About & Partial<import('./backup.js').Made>
 *   | { event: 'skipped', tick: string | undefined, reason: string }
 * )} Entry
 */

/** Milliseconds on the monotonic clock. */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * @param {string} directory
 * @param {string} replica
 * @param {import('@solorun/core').Solo} solo
 */
export function openJournal(directory, replica, solo) {
  const fd = openSync(join(directory, `${replica}.jsonl`), 'a');
  const write = (/** @type {Record<string, unknown>} */ entry) => {
    appendFileSync(fd, `${JSON.stringify({ replica, at: now(), ...entry })}\n`);
  };
  solo.on('skipped', ({ at, reason }) => write({ event: 'skipped', tick: at?.toISOString(), reason }));

  return {
    up: () => write({ event: 'up', pid: process.pid }),

    /**
     * Runs the work and writes down when it started, each of its steps, and how it ended.
     *
     * @template {object | undefined} T
     * @param {import('@solorun/node-cron').ScheduleContext} run
     * @param {(onStep: (step: string) => void) => Promise<T>} work
     * @returns {Promise<T>}
     */
    async record(run, work) {
      const { occurrence, date, fence, attempt, signal } = run;
      const about = { tick: (occurrence?.at ?? date).toISOString(), fence: String(fence), attempt };
      write({ event: 'start', ...about });
      try {
        const made = await work((step) => write({ event: 'step', ...about, step }));
        run.checkpoint();
        write({ event: 'end', ...about, result: made === undefined ? 'found' : 'done', ...made });
        return made;
      } catch (error) {
        // An aborted signal also shows up as the error of whatever it interrupted: its own reason says why.
        const cause = signal.aborted ? signal.reason : error;
        const result = cause instanceof LeaseLostError ? 'lost' : cause instanceof ClosedError ? 'stopped' : 'failed';
        write({ event: 'end', ...about, result, error: String(cause) });
        throw error;
      }
    },
  };
}

/**
 * Reads journals from where the last reading stopped.
 *
 * @param {string} directory
 * @returns {() => Entry[]} what is new, by time
 */
export function journalReader(directory) {
  /** @type {Map<string, { fd: number, rest: string }>} */
  const open = new Map();
  const buffer = Buffer.allocUnsafe(65_536);
  return () => {
    for (const name of readdirSync(directory)) {
      if (!open.has(name)) open.set(name, { fd: openSync(join(directory, name), 'r'), rest: '' });
    }
    /** @type {Entry[]} */
    const entries = [];
    for (const journal of open.values()) {
      for (let length = 1; length > 0;) {
        length = readSync(journal.fd, buffer);
        const lines = (journal.rest + buffer.toString('utf8', 0, length)).split('\n');
        journal.rest = lines.pop() ?? '';
        for (const line of lines) entries.push(JSON.parse(line));
      }
    }
    return entries.sort((a, b) => a.at - b.at);
  };
}

/**
 * Everything that was written down.
 *
 * @param {string} directory
 */
export function readJournals(directory) {
  return journalReader(directory)();
}
