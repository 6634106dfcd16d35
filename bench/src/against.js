#!/usr/bin/env node
// @ts-check
// Times serial locks of this checkout against another one, side by side in one run: npm run bench:against -- /path/to/another/checkout

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { BadArguments, print, runProgram } from '@solorun/servers/program';
import { startPostgres } from '@solorun/servers/postgres';
import { startRedis } from '@solorun/servers/redis';
import { pinTogether } from './pin.js';
import { quantile } from './statistics.js';

/** @import { ChildProcess } from 'node:child_process' */

/** So many that the median is right to about 1 %, on a quiet machine. */
const PAIRS = 400;
/** A block lasts about so long, in ms. */
const BLOCK_MS = 150;

const HELP = `Times serial locks of this checkout against those of another one, side by side in one run.

Usage: npm run bench:against -- DIRECTORY

DIRECTORY is another checkout, installed and built. Prints, for each provider, how long a run of this one takes relative to a run of the
other one: the median of ${PAIRS} pairs of blocks, and the quartiles. Both have a process each and take turns, on one processor with the
server, so what slows the machine down slows down both.
`;

const here = fileURLToPath(new URL('../..', import.meta.url));
const [role, ...rest] = process.argv.slice(2);
if (role === 'child') await child(rest);
else await runProgram(main, HELP);

async function main() {
  if (role === undefined || role === '-h' || role === '--help') return print(HELP);
  if (rest.length > 0) throw new BadArguments('One directory, please.');
  const other = resolve(role);
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const directory = mkdtempSync(join(tmpdir(), 'solorun-against-'));
  for (const { pid } of [postgres, redis]) pinTogether(pid);
  try {
    for (const [kind, place] of /** @type {const} */ ([
      ['memory', ''],
      ['lockfile', directory],
      ['redis', redis.url],
      ['advisory', postgres.url],
      ['lease', postgres.url],
    ])) {
      print(`${kind.padEnd(10)} ${await compare(kind, place, other)}`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

/** @param {string} kind @param {string} place @param {string} other */
async function compare(kind, place, other) {
  const pair = [here, other].map((checkout, n) =>
    fork(fileURLToPath(import.meta.url), ['child', checkout, kind, place, String(n)]),
  );
  const [ours, theirs] = /** @type {[ChildProcess, ChildProcess]} */ (pair);
  await Promise.all(pair.map((one) => once(one, 'message')));
  /** @type {number[]} */
  const ratios = [];
  for (let n = 0; n < PAIRS; n += 1) {
    // Each goes first every other time.
    const [first, second] = n % 2 === 0 ? [ours, theirs] : [theirs, ours];
    const times = [await block(first), await block(second)];
    const [mine = 0, its = 1] = first === ours ? times : times.toReversed();
    ratios.push(mine / its);
  }
  for (const one of pair) one.disconnect();
  const at = (/** @type {number} */ share) => quantile(ratios, share).toFixed(3);
  return `${at(0.5)}  (${at(0.25)} … ${at(0.75)})`;
}

/** @param {ChildProcess} one @returns {Promise<number>} ms per run */
async function block(one) {
  one.send('block');
  const [time] = await once(one, 'message');
  return Number(time);
}

/** @param {string[]} words */
async function child([checkout = '', kind = '', place = '', n = '']) {
  const load = (/** @type {string} */ path) => import(pathToFileURL(join(checkout, 'packages', path)).href);
  const { createSolo } = await load('core/dist/index.js');
  const providers = {
    memory: async () => (await load('core/dist/memory.js')).memory(),
    lockfile: async () => (await load('lockfile/dist/index.js')).lockfile({ directory: join(place, n) }),
    redis: async () => (await load('redis/dist/index.js')).redis({ url: place, prefix: `against${n}`, settleMs: 0 }),
    advisory: async () => (await load('postgres/dist/index.js')).postgresAdvisory({ connectionString: place, settleMs: 0 }),
    lease: async () => (await load('postgres/dist/index.js')).postgresLease({ connectionString: place, schema: `against${n}` }),
  };
  const solo = createSolo({ provider: await providers[/** @type {keyof typeof providers} */ (kind)]() });
  const run = () => solo.run(`job ${n}`, () => {});
  const warm = performance.now();
  let runs = 0;
  for (; performance.now() < warm + 2_000; runs += 1) await run();
  const size = Math.max(1, Math.round((runs * BLOCK_MS) / 2_000));
  const timeBlock = async () => {
    const startedAt = performance.now();
    for (let count = 0; count < size; count += 1) await run();
    process.send?.((performance.now() - startedAt) / size);
  };
  process.on('message', () => void timeBlock());
  process.on('disconnect', () => void solo.close());
  process.send?.('ready');
}
