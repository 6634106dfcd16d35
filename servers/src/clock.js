// @ts-check
// A wall clock that a server alone believes in, by libfaketime.

import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const libraries = ['/usr/lib/x86_64-linux-gnu/faketime', '/usr/lib/aarch64-linux-gnu/faketime'].map((directory) =>
  join(directory, 'libfaketimeMT.so.1'),
);

/**
 * Why there can be no clock of a server's own here, and the remedy; undefined when there can.
 *
 * @returns {string | undefined}
 */
export function faketimeMissing() {
  return libraries.some((library) => existsSync(library))
    ? undefined
    : 'faketime is not installed. Remedy: apt-get install faketime';
}

/**
 * @typedef {object} WallClock
 * @property {Readonly<Record<string, string>>} env For the process that is to believe in it. Its monotonic clock stays right.
 * @property {(aheadMs: number) => void} set From now on it is ahead of ours by so much, or behind if negative.
 */

/**
 * A wall clock that can be set while the process runs.
 *
 * @param {{ directory: string, aheadMs: number }} where The directory is for a file of the clock's.
 * @returns {WallClock}
 */
export function wallClock({ directory, aheadMs }) {
  const missing = faketimeMissing();
  if (missing !== undefined) throw new Error(missing);
  const file = join(directory, 'wall-clock');
  /** @param {number} ms */
  const set = (ms) => {
    // In one step: half of what is written would be another time.
    writeFileSync(`${file}.next`, `${ms < 0 ? '' : '+'}${ms / 1_000}s\n`);
    renameSync(`${file}.next`, file);
  };
  set(aheadMs);
  return {
    env: {
      // The C library's malloc instead of jemalloc, which Redis brings along: that asks for the time before faketime can tell it.
      LD_PRELOAD: `${libraries.find((library) => existsSync(library)) ?? ''} libc.so.6`,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    set,
  };
}
