// @ts-check
// The floors of a hand-off: by hand, and no more than that. None of them is safe to use.

import { linkSync, unlinkSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../contenders/connect.js';
import { RAW_LEASE } from '../contenders/raw.js';
import { LOCK } from './queue.js';

/** @import { Queue } from './queue.js' */

/**
 * The server's own queue.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function blocking(url) {
  const client = await connect(url);
  return {
    async take() {
      await client.query({ name: 'lock', text: 'SELECT pg_advisory_lock(1)' });
      return () => client.query({ name: 'unlock', text: 'SELECT pg_advisory_unlock(1)' });
    },
    close: () => client.end(),
  };
}

/**
 * A row, and a notification when it comes free.
 *
 * @param {string} url
 * @returns {Promise<Queue>}
 */
export async function notified(url) {
  const client = await connect(url);
  const owner = String(process.pid);
  const free = signal();
  client.on('notification', free.wake);
  await client.query('LISTEN raw_lease');
  const text = `WITH released AS (${RAW_LEASE.release.text} RETURNING 1) SELECT pg_notify('raw_lease', '') FROM released`;
  return {
    async take() {
      for (;;) {
        const woken = free.next();
        const { rowCount } = await client.query({ ...RAW_LEASE.acquire, values: [LOCK, owner] });
        if (rowCount === 1) return () => client.query({ name: 'release', text, values: [LOCK, owner] });
        await woken;
      }
    },
    close: () => client.end(),
  };
}

/**
 * A file that is linked into place, and a watch on the directory.
 *
 * @param {string} directory
 * @returns {Queue}
 */
export function watched(directory) {
  const mine = join(directory, `${process.pid}.owner`);
  const lock = join(directory, 'raw.lock');
  writeFileSync(mine, JSON.stringify({ pid: process.pid }));
  const free = signal();
  const watcher = watch(directory, free.wake);
  return {
    async take() {
      for (;;) {
        const woken = free.next();
        try {
          linkSync(mine, lock);
          return () => unlinkSync(lock);
        } catch (error) {
          if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
        }
        await woken;
      }
    },
    close: () => watcher.close(),
  };
}

export function signal() {
  let wake = () => {};
  return {
    wake: () => wake(),
    /** @returns {Promise<void>} */
    next: () =>
      new Promise((resolve) => {
        wake = resolve;
      }),
  };
}
