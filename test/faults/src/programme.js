// @ts-check
// Which scenarios are played: each nemesis alone on each provider that it is for, all of them mixed, and every workload.

import { nemeses, nemesisNamed } from './nemeses.js';
import { pages } from './places.js';

/** @import { PageName } from './places.js' */
/** @import { Scenario } from './round.js' */

const pageNames = /** @type {PageName[]} */ (Object.keys(pages));

/**
 * The nemeses that are for a provider, whatever a fleet does.
 *
 * @param {PageName} page
 * @returns {string[]}
 */
function nemesesOn(page) {
  return Object.keys(nemeses).filter((name) => nemesisNamed(name).on.includes(page) && nemesisNamed(name).workload === undefined);
}

/** The name on the command line of all nemeses that can be mixed. */
export const MIXED = 'mixed';

/**
 * The nemeses that can be mixed. A violation that the docs exclude under one of them would be excused in all, and some need extra equipment.
 *
 * @param {PageName} page
 * @returns {string[]}
 */
export function mixedOn(page) {
  return nemesesOn(page).filter((name) => {
    const { excluded, needs, alone } = nemesisNamed(name);
    return excluded === undefined && needs === undefined && alone !== true;
  });
}

/** @typedef {Omit<Scenario, 'seconds' | 'seed'>} Play */

/**
 * Long runs, and others that wait for the end of them, for the same occurrence or for the next ones: with these the docs' exclusions can
 * be seen, which are not to be too wide.
 */
const telling = [2_000, 500].map(
  (tickMs) => /** @type {const} */ ({ onBusy: 'standby', jobMs: 3_000, tickMs, stepMs: 5, asks: 'checkpoint', attempts: 1 }),
);

/**
 * Everything: nemeses alone, mixed, and the other workloads under what can be mixed.
 *
 * @param {readonly PageName[]} [on]
 * @returns {Play[]}
 */
export function wholeProgramme(on = pageNames) {
  return on.flatMap((page) => [
    { page, nemeses: [] },
    ...nemesesOn(page).map((name) => ({ page, nemeses: [name] })),
    ...nemesesOn(page)
      .filter((name) => nemesisNamed(name).excluded !== undefined)
      .flatMap((name) => telling.map((job) => ({ page, nemeses: [name], job }))),
    { page, nemeses: mixedOn(page) },
    { page, nemeses: ['solorun-killed'], job: { workload: 'commands' } },
    ...workloadsOn(page).map((workload) => ({ page, nemeses: mixedOn(page), job: { workload } })),
  ]);
}

/** @param {PageName} page */
function workloadsOn(page) {
  const others = /** @type {const} */ (['elections', 'cron', 'bullmq', 'commands']);
  return page === 'advisory' || page === 'lease' ? /** @type {const} */ ([...others, 'guarded']) : others;
}

/**
 * The programme of `npm test`: on each provider no fault, all that can be mixed, and scenarios that once broke a promise; each workload somewhere.
 *
 * @type {readonly Play[]}
 */
export const shortProgramme = [
  ...pageNames.flatMap((page) => [
    { page, nemeses: [] },
    { page, nemeses: mixedOn(page) },
  ]),
  { page: 'lockfile', nemeses: ['pause', 'kill'], job: { tickMs: 200, jobMs: 5 } },
  { page: 'lockfile', nemeses: ['stop-edge', 'block'] },
  { page: 'lockfile', nemeses: ['disk-full', 'inodes-gone', 'disk-read-only'] },
  { page: 'lockfile', nemeses: ['kill', 'stop-short'], job: { workload: 'cron' } },
  { page: 'lockfile', nemeses: ['solorun-killed'], job: { workload: 'commands' } },
  { page: 'advisory', nemeses: ['machine-reset'], job: { onBusy: 'standby' } },
  { page: 'advisory', nemeses: ['end-while-blocked'], job: { asks: 'confirm', onBusy: 'standby' } },
  { page: 'advisory', nemeses: ['lost-answers', 'cut-down', 'slow'] },
  { page: 'advisory', nemeses: mixedOn('advisory'), job: { workload: 'guarded' } },
  { page: 'lease', nemeses: ['lost-answers', 'cut-down', 'slow'] },
  { page: 'lease', nemeses: mixedOn('lease'), job: { workload: 'guarded' } },
  { page: 'lease', nemeses: ['kill', 'crash'], job: { workload: 'bullmq' } },
  { page: 'redis', nemeses: ['lost-answers', 'cut-down', 'slow'] },
  { page: 'redis', nemeses: ['stop-edge', 'redis-freeze'], job: { workload: 'elections' } },
  { page: 'redis', nemeses: ['solorun-killed'], job: { workload: 'commands' } },
];
