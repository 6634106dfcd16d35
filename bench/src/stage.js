// @ts-check
// What rows of the benchmark work on.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '@solorun/servers/postgres';
import { startRedis } from '@solorun/servers/redis';

/** @import { Postgres, Settings } from '@solorun/servers/postgres' */
/** @import { Redis } from '@solorun/servers/redis' */

/** What the servers for tests have otherwise than a server that somebody has installed. */
const AS_INSTALLED = { fsync: true, full_page_writes: true, shared_buffers: '128MB', wal_keep_size: 0 };

/** Where files of this run go: the disk whose flushes are measured. */
export const home = tmpdir();

/**
 * Calls `act` with a fresh server on a disk, and takes it away again.
 *
 * @template T
 * @param {(server: Postgres) => Promise<T>} act
 * @param {Settings} [settings]
 */
export async function withPostgres(act, settings = {}) {
  const server = await startPostgres({ version: 18, settings: { ...AS_INSTALLED, ...settings } });
  try {
    return await act(server);
  } finally {
    await server.stop();
  }
}

/**
 * The same with a Redis that keeps nothing on the disk.
 *
 * @template T
 * @param {(server: Redis) => Promise<T>} act
 */
export async function withRedis(act) {
  const server = await startRedis();
  try {
    return await act(server);
  } finally {
    await server.stop();
  }
}

/**
 * @template T
 * @param {(directory: string) => Promise<T>} act
 */
export async function withDirectory(act) {
  const directory = mkdtempSync(join(home, 'solorun-bench-'));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  process.on('exit', remove);
  try {
    return await act(directory);
  } finally {
    process.off('exit', remove);
    remove();
  }
}

/**
 * Calls `act` with what was opened, and closes it.
 *
 * @template {{ readonly close?: () => unknown }} C
 * @template T
 * @param {readonly (C | Promise<C>)[]} opening
 * @param {(opened: C[]) => Promise<T>} act
 */
export async function withAll(opening, act) {
  /** @type {C[]} */
  const opened = [];
  try {
    for (const each of opening) opened.push(await each);
    return await act(opened);
  } finally {
    for (const { close } of opened) await close?.();
  }
}
