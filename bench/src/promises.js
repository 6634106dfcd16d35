#!/usr/bin/env node
// @ts-check
// Counts the promises that one run of a free lock makes, from solo.run() to its release: each costs some tenths of a µs, and a serial lock
// waits for all of them. Counted and not timed, so the figures are the same on every machine.

import { createHook } from 'node:async_hooks';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import { lockfile } from '@solorun/lockfile';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { print } from '@solorun/servers/program';
import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';

/** @import { LockProvider } from '@solorun/core' */

/** Runs before the count: connections, prepared statements and records are there. */
const WARM_UP = 50;
const RUNS = 200;

/** @param {LockProvider} provider */
async function promisesPerRun(provider) {
  const solo = createSolo({ provider });
  const run = () => solo.run('job', () => {});
  for (let n = 0; n < WARM_UP; n += 1) await run();
  let count = 0;
  const hook = createHook({
    init(_, type) {
      if (type === 'PROMISE') count += 1;
    },
  }).enable();
  /** @type {number[]} */
  const counts = [];
  for (let n = 0; n < RUNS; n += 1) {
    const before = count;
    await run();
    counts.push(count - before);
  }
  hook.disable();
  await solo.close();
  // Heartbeats and the ledger add some now and then.
  return counts.toSorted((a, b) => a - b)[RUNS / 2];
}

/** @param {string} name @param {LockProvider} provider */
async function show(name, provider) {
  print(`${name.padEnd(10)} ${await promisesPerRun(provider)}`);
}

const directory = mkdtempSync(join(tmpdir(), 'solorun-promises-'));
try {
  await show('memory', memory());
  await show('lockfile', lockfile({ directory: join(directory, 'locks') }));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
const noRedis = redisMissing();
if (noRedis !== undefined) print(`redis      ${noRedis}`);
else {
  const server = await startRedis();
  await show('redis', redis({ url: server.url, settleMs: 0 }));
  await server.stop();
}
const noPostgres = postgresMissing();
if (noPostgres !== undefined) print(`postgres   ${noPostgres}`);
else {
  const server = await startPostgres();
  await show('advisory', postgresAdvisory({ connectionString: server.url, settleMs: 0 }));
  await show('lease', postgresLease({ connectionString: server.url }));
  await server.stop();
}
