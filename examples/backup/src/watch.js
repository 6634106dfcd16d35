// @ts-check
// Follows the journals while they are written, and waits for things to happen in them.

import { journalReader } from './journal.js';

/** @typedef {import('./journal.js').Entry} Entry */
/** @typedef {ReturnType<typeof watchJournals>} Watch */

const LOOK_EVERY_MS = 20;

/**
 * @param {string} directory
 * @param {(entry: Entry) => void} onEntry
 */
export function watchJournals(directory, onEntry) {
  const read = journalReader(directory);
  /** @type {Set<{ heard(entry: Entry): void, fail(error: unknown): void }>} */
  const waiting = new Set();
  /** @type {Entry[]} */
  const entries = [];
  /** @type {{ error: unknown } | undefined} */
  let failed;

  function look() {
    for (const entry of read()) {
      entries.push(entry);
      onEntry(entry);
      for (const waiter of waiting) waiter.heard(entry);
    }
  }
  const timer = setInterval(look, LOOK_EVERY_MS);

  return {
    /** All so far. */
    entries: /** @type {readonly Entry[]} */ (entries),
    /** Reads what has been written up to now. */
    look,
    /**
     * The first entry, from now on or from the given one, of which `test` is true.
     *
     * @template {Entry} E
     * @param {string} what for the error, should it not happen
     * @param {number} withinMs
     * @param {((entry: Entry) => entry is E) | ((entry: Entry) => boolean)} test
     * @param {number} [since] how many entries there were when the wait began. @default as many as there are
     * @returns {Promise<E>}
     */
    async until(what, withinMs, test, since = entries.length) {
      if (failed) throw failed.error;
      const already = entries.slice(since).find((entry) => test(entry));
      if (already !== undefined) return /** @type {E} */ (already);
      return new Promise((resolve, reject) => {
        const late = setTimeout(
          () => waiter.fail(new Error(`Waited ${withinMs / 1000} s for ${what}: it did not happen.`)),
          withinMs,
        );
        const done = () => {
          clearTimeout(late);
          waiting.delete(waiter);
        };
        const waiter = {
          heard(/** @type {Entry} */ entry) {
            if (!test(entry)) return;
            done();
            resolve(/** @type {E} */ (entry));
          },
          fail(/** @type {unknown} */ error) {
            done();
            reject(error);
          },
        };
        waiting.add(waiter);
      });
    },
    /** Nobody waits any longer: something went wrong. @param {unknown} error */
    fail(error) {
      failed ??= { error };
      for (const waiter of waiting) waiter.fail(error);
    },
    close: () => clearInterval(timer),
  };
}
