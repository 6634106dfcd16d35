// @ts-check
// One round: a fleet at work on one place, faults, a while in which all is mended, and what the checker finds.

import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guard } from '@solorun/servers/guard';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { until } from '@solorun/servers/witness';
import { startFleet } from './fleet.js';
import { check, figuresOf, unwell } from './history.js';
import { now } from './journal.js';
import { nemesisNamed } from './nemeses.js';
import { pages, withClocks } from './places.js';
import { ask } from './places/postgres.js';
import { createRandom } from './random.js';

/** @import { Fleet } from './fleet.js' */
/** @import { Figures, Violation } from './history.js' */
/** @import { Nemesis } from './nemeses.js' */
/** @import { PageName, Place } from './places.js' */
/** @import { Job } from './worker.js' */

/**
 * @typedef {object} Scenario
 * @property {PageName} page
 * @property {readonly string[]} nemeses Each strikes again and again, drawn at random. None: a calm round.
 * @property {Partial<Job>} [job] What is not said is drawn from the seed.
 * @property {string} [beside] A checkout of another version, which the last replica runs.
 * @property {number} seconds For how long faults are injected.
 * @property {number} seed
 */

/** @typedef {Violation & { readonly excluded?: string }} Found `excluded`: the words of docs/guarantees.md. */

/**
 * @typedef {object} Outcome
 * @property {Scenario & { job: Job }} scenario
 * @property {Figures} figures
 * @property {readonly Found[]} violations
 */

const REPLICAS = 3;
/** After the last fault a fleet has this long to work again, and no test waits for it when it does so before. */
const RECOVERY_MS = 60_000;
/** A busy machine needs as much to start a replica in the place of one that was killed, in ms. */
const STARTING_MS = 5_000;

/**
 * Why a scenario cannot be had on this machine, and the remedy.
 *
 * @param {Pick<Scenario, 'page' | 'nemeses' | 'job'>} scenario
 * @returns {string | undefined}
 */
export function roundMissing({ page, nemeses, job }) {
  const needsRedis = page.startsWith('redis') || job?.workload === 'bullmq';
  const reasons = [needsRedis ? redisMissing() : undefined, ...nemeses.map((name) => nemesisNamed(name).missing?.())];
  return reasons.find((reason) => reason !== undefined);
}

/**
 * @param {Scenario} scenario
 * @param {{ keep?: string }} [options] `keep`: where journals stay.
 * @returns {Promise<Outcome>}
 */
export async function playRound(scenario, { keep } = {}) {
  const random = createRandom(scenario.seed);
  const job = jobOf(scenario, random.fork());
  const strikes = scenario.nemeses.map(nemesisNamed);
  const needs = needsOf(strikes);
  // Real, because that is how the kernel calls the directory that replicas work in.
  const directory = keep ?? mkdtempSync(join(realpathSync(tmpdir()), 'solorun-faults-'));
  mkdirSync(directory, { recursive: true });
  const forget = keep === undefined ? guard({ directory }) : undefined;
  const server = await pages[scenario.page]({ replicas: REPLICAS, needs, directory });
  const place = needs === 'replica clocks' ? withClocks(server, directory) : server;
  const queue = job.workload === 'bullmq' ? await startRedis() : undefined;
  /** @type {Fleet | undefined} */
  let started;
  try {
    const database = place.postgres?.url;
    if (job.workload === 'guarded') await prepareCounter(place, job.names);
    const whole = { ...job, ...(database === undefined ? {} : { database }), ...(queue === undefined ? {} : { queue: queue.url }) };
    const fleet = (started = await startFleet({
      directory,
      links: place.links,
      job: whole,
      ...(scenario.beside === undefined ? {} : { beside: scenario.beside }),
      // One of them is late, as clocks and processes are.
      lateMs: (slot) => (slot === 0 ? Math.min(200, Math.round(job.tickMs / 3)) : 0),
    }));
    // From then on there are tables, sessions and files for faults to hit. A fleet that never works is found by the checker.
    const worked = await isSeen(() => fleet.lines().some(({ kind }) => kind === 'begin'));
    if (worked) await strikeFor(scenario.seconds * 1_000, strikes, { place, fleet, job, random: random.fork() });
    const mendedAt = now();
    await recovered(fleet, mendedAt, job.names);
    await fleet.stop();
    const lines = fleet.lines();
    const figures = figuresOf(lines);
    // A fleet that never worked is found below. One that nothing happened to has shown nothing.
    if (worked && strikes.length > 0 && figures.faults === 0) throw new Error('No fault was injected: play it for more seconds.');
    const wallOffsetMs = needs === 'server clock' ? undefined : wallOffset();
    const violations = [
      ...check(lines, {
        attempts: job.attempts,
        calm: strikes.length === 0,
        mendedAt,
        names: job.names,
        // Where holders are killed, and nothing else happens. Waiters poll; a tick may have to come first.
        ...(isKillAlone(scenario) ? { takeOverMs: 2 * job.leaseMs + 2 * job.tickMs + STARTING_MS } : {}),
        ...(wallOffsetMs === undefined ? {} : { wallOffsetMs }),
      }),
      ...(job.workload === 'guarded' ? await counterViolations(place, lines) : []),
      ...(await leftViolations(place)),
    ];
    return { scenario: { ...scenario, job }, figures, violations: violations.map((one) => judged(one, { strikes, lines, job })) };
  } finally {
    await started?.kill();
    await place.stop();
    await queue?.stop();
    if (keep === undefined) rmSync(directory, { recursive: true, force: true });
    forget?.();
  }
}

/** @param {Scenario} scenario */
function isKillAlone({ nemeses, job }) {
  return nemeses.join() === 'kill' && (job?.workload === undefined || job.workload === 'ticks');
}

/** The difference between the wall clock and the journals'. A process that is preempted between two readings makes it too large. */
function wallOffset() {
  return Math.min(...Array.from({ length: 20 }, () => Date.now() - now()));
}

/** @param {readonly Nemesis[]} strikes */
function needsOf(strikes) {
  const [first, ...others] = new Set(strikes.flatMap(({ needs }) => needs ?? []));
  if (others.length > 0) throw new Error(`No place has both: ${[first, ...others].join(', ')}. Play these nemeses one by one.`);
  return first;
}

/**
 * @param {Scenario} scenario
 * @param {import('./random.js').Random} random
 * @returns {Job}
 */
function jobOf({ page, nemeses, job = {} }, random) {
  const isCalm = nemeses.length === 0;
  // Without a fault nothing may be lost, so no machine is busy for that long.
  const leaseMs = isCalm ? 6_000 : random.pick([1_000, 1_500, 2_000]);
  const onBusy = random.pick(/** @type {const} */ (['skip', 'standby', 'standby', 'wait', 'retry']));
  const drawn = {
    workload: /** @type {const} */ ('ticks'),
    names: Array.from({ length: job.workload === 'commands' ? 1 : page === 'lockfile' ? 2 : 3 }, (_, n) => `job ${n}`),
    leaseMs,
    tickMs: random.pick([200, 500, 1_000]),
    // Some run for longer than their lease, so that it has to be renewed.
    jobMs: random.pick(isCalm ? [5, 400, 8_000] : [5, 100, 400, 1_500, 3_000]),
    stepMs: random.pick([5, 20, 50]),
    asks: random.pick(/** @type {const} */ (['checkpoint', 'checkpoint', 'confirm', 'signal'])),
    onBusy,
    attempts: random.pick([1, 2]),
  };
  const needed = nemeses.map((name) => nemesisNamed(name).job ?? {});
  return Object.assign(drawn, ...needed, job);
}

/**
 * @param {number} ms
 * @param {readonly Nemesis[]} strikes
 * @param {import('./nemeses.js').Scene} scene
 */
async function strikeFor(ms, strikes, scene) {
  const { fleet, random } = scene;
  // Without a fault it is only a matter of time.
  if (strikes.length === 0) return sleep(ms);
  for (const deadline = now() + ms; now() < deadline;) {
    await sleep(random.between(50, 1_000));
    const able = strikes.filter(({ spent }) => spent?.(scene) !== true);
    if (able.length === 0) return;
    const nemesis = random.pick(able);
    fleet.note('fault', nemesis.title);
    await nemesis.strike(scene);
    fleet.note('mended', nemesis.title);
  }
}

/**
 * Until every lock is used again and every replica has been answered, or until the end of patience: the checker finds the others then.
 *
 * @param {Fleet} fleet
 * @param {number} since
 * @param {readonly string[]} names
 */
async function recovered(fleet, since, names) {
  await isSeen(() => unwell(fleet.lines(), { since, workers: fleet.members.map(({ label }) => label), names }).length === 0);
}

/**
 * Whether the condition becomes true in the time that a fleet has to work again.
 *
 * @param {() => boolean} look
 */
async function isSeen(look) {
  for (const deadline = now() + RECOVERY_MS; now() < deadline; await sleep(100)) if (look()) return true;
  return look();
}

/** @param {Place} place @param {readonly string[]} names */
async function prepareCounter({ postgres }, names) {
  if (postgres === undefined) throw new Error('The guarded counter is in the database that keeps the locks: a Postgres.');
  await ask(postgres.url, 'CREATE TABLE counter (name text PRIMARY KEY, value integer NOT NULL)');
  for (const name of names) await ask(postgres.url, 'INSERT INTO counter VALUES ($1, 0)', [name]);
}

/** @param {Place} place @param {readonly import('./journal.js').Line[]} lines @returns {Promise<Violation[]>} */
async function counterViolations({ postgres }, lines) {
  const rows = await ask(postgres?.url ?? '', 'SELECT name, value FROM counter');
  return rows.flatMap(({ name, value }) => {
    const told = (/** @type {string} */ word) =>
      lines.filter((line) => line.kind === 'counted' && line.name === name && line.result === word).length;
    const [committed, unknown] = [told('committed'), told('unknown')];
    const values = lines.flatMap((line) =>
      line.kind === 'counted' && line.name === name && line.result === 'committed' ? (line.value ?? []) : [],
    );
    const twice = values.find((one, index) => values.indexOf(one) !== index);
    if (twice !== undefined) {
      return [
        {
          kind: /** @type {const} */ ('lost update'),
          name: String(name),
          detail: `two runs were told that they counted to ${twice}`,
        },
      ];
    }
    // A worker that was killed after its COMMIT could tell nobody, so there may be more than was told.
    const isLess = Number(value) < committed;
    const killed = lines.filter(({ kind }) => kind === 'killed').length;
    const isMore = Number(value) > committed + unknown + killed;
    if (!isLess && !isMore) return [];
    return [
      {
        kind: 'lost update',
        name: String(name),
        detail: `${committed} were told that they counted, ${unknown} do not know, and it says ${String(value)}`,
      },
    ];
  });
}

/** @param {Place} place @returns {Promise<Violation[]>} */
async function leftViolations(place) {
  /** @type {readonly string[]} */
  let left = [];
  try {
    await until('all clients are gone from the server', async () => (left = await place.leftovers()).length === 0, 15_000);
    return [];
  } catch (error) {
    if (left.length === 0) throw error;
    return [{ kind: 'left open', name: 'server', detail: `clients that are gone left behind: ${left.join('; ')}` }];
  }
}

/**
 * @param {Violation} violation
 * @param {{ strikes: readonly Nemesis[], lines: readonly import('./journal.js').Line[], job: Job }} round
 * @returns {Found}
 */
function judged(violation, { strikes, lines, job }) {
  // Nothing excuses what happened before.
  const began = (/** @type {Nemesis} */ { title }) =>
    lines.some(({ kind, name, t }) => kind === 'fault' && name === title && t <= (violation.t ?? Number.POSITIVE_INFINITY));
  const words = strikes
    .filter(began)
    .map(({ excluded }) => excluded?.(violation, job))
    .find((excluded) => excluded !== undefined);
  return words === undefined ? violation : { ...violation, excluded: words };
}
