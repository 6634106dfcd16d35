// @ts-check

/** @import { Violation, ViolationKind } from './history.js' */
/** @import { Job } from './worker.js' */

/**
 * Whether the docs exclude a violation: their words, or undefined.
 *
 * @typedef {((violation: Violation, job: Job) => string | undefined) & { readonly words: string }} Excludes
 */

/** Processes of a busy machine notice things late by as much, in ms. */
const BUSY_MS = 300;

/**
 * An exclusion of docs/guarantees.md under a nemesis, as narrow as its words.
 *
 * @param {string} words Of that page.
 * @param {object} what
 * @param {readonly ViolationKind[]} what.kinds
 * @param {number} [what.leases] A violation lasts no longer than this share of a lease. Default 1.
 * @param {(job: Job) => boolean} [what.unless] Jobs that the words are not about.
 * @returns {Excludes}
 */
export function excludes(words, { kinds, leases = 1, unless = () => false }) {
  /** @param {Violation} violation @param {Job} job */
  const judge = ({ kind, lengthMs = 0 }, job) =>
    kinds.includes(kind) && lengthMs <= leases * job.leaseMs + BUSY_MS && !unless(job) ? words : undefined;
  return Object.assign(judge, { words });
}
