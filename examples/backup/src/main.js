#!/usr/bin/env node
// @ts-check
// What `npm start` shows: replicas that fire a backup every second, what befalls them, and the count at the end.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createSolo } from '@solorun/core';
import { published, verify } from './backup.js';
import { createFleet } from './fleet.js';
import { play } from './incidents.js';
import { now, readJournals } from './journal.js';
import { narrate } from './narrate.js';
import { report } from './report.js';
import { startServer } from './server.js';
import { openStore, parseStore, shown } from './store.js';
import { summarize } from './summary.js';
import { changeTree, makeTree } from './tree.js';
import { watchJournals } from './watch.js';

const HELP = `Makes one backup per second on several replicas of a program, while they are killed and frozen.

Usage: npm start -- [options]

  --replicas N    replicas at the start; two more come by accident (2 to 7, default 3)
  --seconds N     how long it goes on, if nothing holds it up (10 to 600, default 25)
  --store STORE   where the locks live (default: a fresh directory)
                    file:DIR             a directory on this machine
                    postgres             a Postgres that is started for this, and gone afterwards
                    postgres+lease       the same, with rows that end by time in place of session locks
                    redis                a Redis that is started for this, if redis-server is installed, and gone afterwards
                    postgres://…         a Postgres server of yours: postgres://user@host:5432/database
                    postgres+lease://…   the same, with rows; through any pooler
                    redis://…            a Redis server of yours: redis://host:6379/0
  --keep          keep the working directory: journals, logs, backups
  -h, --help      this text

Other users of the machine see the options of a program. A password belongs into the environment: PGPASSWORD=… npm start -- --store …,
or the whole store as SOLORUN_STORE=postgres://… npm start. On a server of yours the schema "solorun" is made, and stays.

Exit status: 0 if every tick was backed up at most once, no two backups overlapped and the ticks of the dead were recovered;
1 if not; 64 for a wrong option; 69 if the locks cannot be asked for.
`;

const INTERVAL_MS = 1_000;
/**
 * How long a lease lasts without renewal: what it takes until a frozen replica is given up. Not a whole number of intervals: a lease
 * that ends as the clock strikes would as soon go to that tick as to those who stand by for the one that is stuck.
 */
const LEASE_MS = 2_500;
/** As in replica.js. */
const ATTEMPTS = 3;
/** Slow enough for a run to have a middle: the tree makes 650 KB. */
const BYTES_PER_SECOND = 2_000_000;
/** In which the other replicas tell that they left the last tick alone. */
const SETTLE_MS = 100;
/** Beyond `--seconds`: after that nothing more is waited for. */
const OVERTIME_S = 60;

const settings = readSettings();
const workspace = mkdtempSync(join(tmpdir(), 'solorun-backup-'));
const at = (/** @type {string} */ name) => join(workspace, name);
for (const name of ['data', 'backups', 'journals', 'logs']) mkdirSync(at(name));
makeTree(at('data'));

let keep = settings.keep;
process.on('exit', () => {
  if (!keep) rmSync(workspace, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
});
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  // Heard more than once: npm passes on what a terminal has sent to us as well, and the second must not cut the cleaning up short.
  process.on(signal, () => process.exit(128 + constants.signals[signal]));
}
// Whoever read this has gone away, as `head` does.
process.stdout.on('error', () => process.exit(1));

const { url, where, server } = await readyStore(settings.store ?? `file:${at('locks')}`);
const startedAt = now();
const elapsed = () => (now() - startedAt) / 1000;
const fleet = createFleet({
  args: [
    ...['--source', at('data'), '--destination', at('backups'), '--journals', at('journals')],
    ...['--lease-ms', String(LEASE_MS), '--bytes-per-second', String(BYTES_PER_SECOND)],
  ],
  // Not among the arguments, which everybody on the machine can see.
  env: { ...process.env, SOLORUN_STORE: url },
  logs: at('logs'),
  onCrash: (error) => watch.fail(error),
});
setTimeout(
  () => {
    console.error(`Gave up after ${settings.seconds + OVERTIME_S} s.`);
    process.exit(1);
  },
  (settings.seconds + OVERTIME_S) * 1000,
).unref();

const names = Array.from({ length: settings.replicas + 2 }, (_, index) => `replica-${index + 1}`);
const narrator = narrate(process.stdout, {
  attempts: ATTEMPTS,
  intervalMs: INTERVAL_MS,
  seconds: settings.seconds,
  store: where,
  elapsed,
});
const watch = watchJournals(at('journals'), (entry) => narrator.add(entry));
const orders = setInterval(() => changeTree(at('data'), workspace), 500);

/** @type {string[]} */
const trouble = [];
try {
  await play({
    fleet,
    watch,
    audience: narrator,
    replicas: names.slice(0, settings.replicas),
    extra: names.slice(settings.replicas),
    leaseMs: LEASE_MS,
    calm: settings.seconds < 20 ? 2 : 4,
  });
  while (elapsed() < settings.seconds) await nextBackup();
  // Ends between two ticks rather than in the middle of one.
  await nextBackup();
  await sleep(SETTLE_MS);
} catch (error) {
  trouble.push(error instanceof Error ? error.message : String(error));
}
clearInterval(orders);
await fleet.stop();
await server?.stop();
watch.look();
watch.close();
narrator.finish();

const summary = summarize(readJournals(at('journals')), { attempts: ATTEMPTS, intervalMs: INTERVAL_MS });
const archives = await checkArchives();
trouble.push(...archives.unsound);
const good = report(process.stdout, { summary, archives: archives.sound, trouble });
if (!good) keep = true;
if (keep) console.log(`  Kept for a closer look: ${workspace}`);
process.exitCode = good ? 0 : 1;

function nextBackup() {
  return watch.until('a backup to be made', 15_000, (entry) => entry.event === 'end' && entry.result === 'done');
}

/**
 * Starts the server, if it is ours to start, and sees that the locks can be asked for: rather now than in every replica.
 *
 * @param {string} text
 */
async function readyStore(text) {
  try {
    const store = parseStore(text);
    const own = store.kind !== 'file' && store.url === undefined ? await startServer(store.kind) : undefined;
    const ready = {
      url: own === undefined ? text : `${store.kind}:${own.url.replace(/^\w+:/, '')}`,
      where: own === undefined ? shown(store) : `${store.kind}, on ${own.words}`,
      server: own,
    };
    const solo = createSolo({ provider: openStore(ready.url) });
    await solo.inspect('example-backup');
    await solo.close();
    return ready;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(69);
  }
}

/** Are the backups that are there the ones that the journals tell of, and whole? */
async function checkArchives() {
  const made = new Map(
    readJournals(at('journals')).flatMap((entry) => (entry.event === 'end' && entry.name ? [[entry.name, entry]] : [])),
  );
  /** @type {string[]} */
  const unsound = [];
  const there = published(at('backups'));
  for (const name of there) {
    const found = await verify(join(at('backups'), name)).catch((/** @type {unknown} */ error) => ({
      sha256: String(error),
      files: 0,
    }));
    const told = made.get(name);
    if (told?.sha256 !== found.sha256 || told.files !== found.files)
      unsound.push(`The backup ${name} is not what its maker wrote down.`);
  }
  return { sound: there.length - unsound.length, unsound };
}

function readSettings() {
  try {
    const { values } = parseArgs({
      options: {
        replicas: { type: 'string', default: '3' },
        seconds: { type: 'string', default: '25' },
        store: { type: 'string' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    if (process.platform === 'win32') throw new Error('This needs a system that can freeze processes (SIGSTOP): Linux or macOS.');
    const store = values.store ?? process.env['SOLORUN_STORE'];
    if (store !== undefined) parseStore(store);
    return {
      replicas: wholeNumber('--replicas', values.replicas, 2, 7),
      seconds: wholeNumber('--seconds', values.seconds, 10, 600),
      store,
      keep: values.keep,
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    process.exit(64);
  }
}

/** @param {string} option @param {string} text @param {number} min @param {number} max */
function wholeNumber(option, text, min, max) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new Error(`${option} is a whole number from ${min} to ${max}, not ${text}.`);
  return value;
}
