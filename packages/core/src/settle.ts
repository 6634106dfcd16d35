import { hostname } from 'node:os';
import { settleBackoff, type Backoff } from './backoff.ts';
import { createSuspendAwareClock, processClock, type Clock } from './clock.ts';
import { checkFlag, checkLease, checkMargin, checkMs, checkName, checkObject, checkSchedule, checkWait } from './checks.ts';
import { OptionError, quote, UnsupportedError } from './errors.ts';
import type { TimesBetween } from './missed.ts';
import { checkKnown, ofRetry, ofSolo, type KnownOptions } from './known-options.ts';
import type { BusyPolicy, LeaseOptions, OccurrenceOptions, OutageOptions, SoloOptions, WatchOptions } from './options.ts';
import type { Identity, LockProvider, OccurrenceRequest } from './provider.ts';
import { settleHooks, type RunHook } from './run-hooks.ts';

const MAX_NAMESPACE_LENGTH = 100;
const MAX_LABEL_LENGTH = 200;
const DEFAULT_CALL_TIMEOUT_MS = 5_000;
const RETAIN_MS = 90 * 86_400_000;

export interface SoloSettings {
  readonly provider: LockProvider;
  readonly namespace: string;
  readonly leaseMs: number | null;
  readonly marginMs: number | undefined;
  readonly callTimeoutMs: number | undefined;
  readonly retainMs: number;
  readonly identity: Identity;
  readonly hooks: readonly RunHook[];
  readonly clock: Clock;
}

export type SettledPolicy = (
  | { readonly onBusy: 'skip' | 'throw' | 'standby' }
  | { readonly onBusy: 'retry'; readonly retry: Backoff }
  | { readonly onBusy: 'wait'; readonly waitMs: number }
) & {
  /** How long the provider may be away, in ms; 0: the first failure is reported. */
  readonly outageMs: number;
};

/** The terms of one acquisition: checked, and nothing left to a default. */
export interface Terms {
  /** As the caller wrote it. */
  readonly name: string;
  /** With the namespace, as the provider knows it. */
  readonly fullName: string;
  readonly leaseMs: number | null;
  readonly marginMs: number;
  readonly callTimeoutMs: number;
  readonly occurrence: OccurrenceRequest | undefined;
  readonly timesBetween: TimesBetween | undefined;
  readonly history: boolean;
  readonly ignorePause: boolean;
  /** How long an occurrence that is not yet due is waited for, in ms. */
  readonly maxEarlyMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface SettledWatch {
  readonly maxRunMs: number | undefined;
  readonly graceMs: number;
  readonly onStuck: WatchOptions['onStuck'];
  readonly hooks: readonly RunHook[];
}

export function settleSolo(options: SoloOptions): SoloSettings {
  checkObject('createSolo', options);
  checkKnown(ofSolo, options);
  const { provider, namespace = '', leaseMs = 30_000, label, marginMs, callTimeoutMs, retainMs = RETAIN_MS } = options;
  if (typeof provider?.tryAcquire !== 'function') {
    throw new OptionError('createSolo needs a provider, for example { provider: lockfile({ directory }) }.');
  }
  if (typeof namespace !== 'string') throw new OptionError(`The namespace is a string, not ${typeof namespace}.`);
  if (namespace.includes('/') || !namespace.isWellFormed() || [...namespace].length > MAX_NAMESPACE_LENGTH) {
    throw new OptionError(`The namespace ${quote(namespace)} must have no "/" and at most ${MAX_NAMESPACE_LENGTH} characters.`);
  }
  if (
    label !== undefined &&
    (typeof label !== 'string' || !/^[^\0]*$/.test(label) || !label.isWellFormed() || label.length > MAX_LABEL_LENGTH)
  ) {
    throw new OptionError(`The label is a string of at most ${MAX_LABEL_LENGTH} characters, none of them NUL.`);
  }
  checkLease(provider, leaseMs);
  if (marginMs !== undefined) checkMs('marginMs', marginMs, 0);
  if (callTimeoutMs !== undefined) checkMs('callTimeoutMs', callTimeoutMs, 1);
  checkMargin(marginMs, leaseMs);
  if (typeof retainMs !== 'number' || !(retainMs > 0)) {
    throw new OptionError(`retainMs is a number of milliseconds above 0 (or Infinity), not ${String(retainMs)}.`);
  }
  const clock = options.clock ?? (provider.guarantees.clock === 'process' ? processClock : createSuspendAwareClock());
  return Object.freeze({
    provider,
    namespace,
    leaseMs,
    marginMs,
    callTimeoutMs,
    retainMs,
    identity: Object.freeze({ host: hostname(), pid: process.pid, ...(label === undefined ? {} : { label }) }),
    hooks: settleHooks(options.onRun),
    clock,
  });
}

/** @param known the options of the verb that was called */
export function settleTerms(
  solo: SoloSettings,
  name: string,
  options: LeaseOptions & OccurrenceOptions,
  known: KnownOptions,
): Terms {
  checkName(name);
  checkObject(quote(name), options);
  checkKnown(known, options);
  const { leaseMs = solo.leaseMs, occurrence, attempts = 1, maxEarlyMs = Number.POSITIVE_INFINITY, signal } = options;
  const { history = false, ignorePause = false } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new OptionError(`The signal for ${quote(name)} is an AbortSignal (a controller's .signal), not ${typeof signal}.`);
  }
  if (leaseMs !== solo.leaseMs) {
    checkLease(solo.provider, leaseMs);
    checkMargin(solo.marginMs, leaseMs);
  }
  if (!Number.isSafeInteger(attempts) || attempts < 1) {
    throw new OptionError(`attempts is a whole number from 1, not ${attempts} (lock ${quote(name)}).`);
  }
  if (maxEarlyMs !== Number.POSITIVE_INFINITY) checkMs('maxEarlyMs', maxEarlyMs, 0);
  const at = typeof occurrence === 'function' ? occurrence() : occurrence;
  if (at === undefined && occurrence !== undefined) {
    throw new OptionError(`The function that tells the occurrence of ${quote(name)} told none.`);
  }
  if (at === undefined && attempts > 1) {
    throw new OptionError(`attempts = ${attempts} needs an occurrence: attempts of what? (lock ${quote(name)})`);
  }
  if (at !== undefined) {
    if (!(at instanceof Date) || Number.isNaN(at.getTime())) {
      throw new OptionError(`The occurrence of ${quote(name)} is not a valid Date.`);
    }
    if (!solo.provider.guarantees.occurrences) {
      throw new UnsupportedError(
        `${solo.provider.kind} keeps no occurrences here, so it cannot tell whether ${quote(name)} already ran at ${at.toISOString()}.`,
      );
    }
  }
  const marginMs = solo.marginMs ?? defaultMargin(leaseMs);
  return {
    name,
    fullName: fullName(solo.namespace, name),
    leaseMs,
    marginMs,
    callTimeoutMs: tryTimeout(solo, leaseMs, marginMs),
    occurrence: at === undefined ? undefined : settleOccurrence(name, at, attempts, options),
    timesBetween: checkTimesBetween(name, options),
    history: checkFlag('history', history, name),
    ignorePause: checkFlag('ignorePause', ignorePause, name),
    maxEarlyMs,
    signal,
  };
}

function checkTimesBetween(name: string, { timesBetween }: OccurrenceOptions): TimesBetween | undefined {
  if (timesBetween === undefined || typeof timesBetween === 'function') return timesBetween;
  throw new OptionError(`timesBetween of ${quote(name)} is a function, not ${typeof timesBetween}.`);
}

function settleOccurrence(name: string, at: Date, attempts: number, options: OccurrenceOptions): OccurrenceRequest {
  const { scheduleHash, schedule, nextDueAt } = options;
  if (schedule !== undefined) checkSchedule(name, schedule);
  const next = typeof nextDueAt === 'function' ? nextDueAt() : nextDueAt;
  if (next !== undefined && !(next instanceof Date && next > at)) {
    throw new OptionError(`nextDueAt of ${quote(name)} is a Date after the occurrence, not ${String(next)}.`);
  }
  const everyMs = schedule !== undefined && 'everyMs' in schedule ? schedule.everyMs : undefined;
  const usual = everyMs === undefined ? undefined : new Date(at.getTime() + everyMs);
  return { at: new Date(at), attempts, scheduleHash, schedule, nextDueAt: next ?? usual };
}

export function settlePolicy(name: string, options: BusyPolicy & OccurrenceOptions & OutageOptions): SettledPolicy {
  const { onBusy = 'skip' } = options;
  switch (onBusy) {
    case 'skip':
    case 'throw':
      return { onBusy, outageMs: settleOutage(name, options, 'fail') };
    case 'standby':
      if (options.occurrence === undefined) {
        throw new OptionError(
          `onBusy: 'standby' needs an occurrence to stand by for (lock ${quote(name)}); to queue for a lock use onBusy: 'wait'.`,
        );
      }
      return { onBusy, outageMs: settleOutage(name, options, 'retry') };
    case 'retry': {
      const given = 'retry' in options ? options.retry : undefined;
      checkKnown(ofRetry, given);
      const retry = settleBackoff(given);
      return { onBusy, retry, outageMs: settleOutage(name, options, 'fail') };
    }
    case 'wait': {
      const waitMs = checkWait('waitMs' in options ? options.waitMs : undefined, name);
      return { onBusy, waitMs, outageMs: settleOutage(name, options, 'retry', waitMs) };
    }
    default:
      throw new OptionError(
        `onBusy is 'skip', 'retry', 'wait', 'standby' or 'throw', not ${String(onBusy)} (lock ${quote(name)}).`,
      );
  }
}

const OUTAGE_MS = 60_000;

/**
 * @param usual what happens unless the options say something else
 * @param waitMs how long the policy waits anyway
 */
export function settleOutage(name: string, options: OutageOptions, usual: 'fail' | 'retry', waitMs: number = OUTAGE_MS): number {
  const { outageMs, onOutage = outageMs === undefined ? usual : 'retry' } = options;
  if (onOutage !== 'fail' && onOutage !== 'retry') {
    throw new OptionError(`onOutage is 'fail' or 'retry', not ${String(onOutage)} (lock ${quote(name)}).`);
  }
  if (outageMs !== undefined && (typeof outageMs !== 'number' || !(outageMs >= 0))) {
    throw new OptionError(
      `outageMs is a number of milliseconds from 0 (or Infinity), not ${String(outageMs)} (lock ${quote(name)}).`,
    );
  }
  if (onOutage === 'retry') return outageMs ?? waitMs;
  if (outageMs === undefined) return 0;
  throw new OptionError(`outageMs goes with onOutage: 'retry', and this says 'fail' (lock ${quote(name)}).`);
}

export function settleWatch(options: WatchOptions): SettledWatch {
  const { maxRunMs, graceMs = 10_000, onStuck } = options;
  if (maxRunMs !== undefined) checkMs('maxRunMs', maxRunMs, 1);
  checkMs('graceMs', graceMs, 0);
  return { maxRunMs, graceMs, onStuck, hooks: settleHooks(options.onRun) };
}

/** How long one call of the provider may take: an answer that comes after half the lease is not worth much. */
export function callTimeout(solo: SoloSettings, leaseMs: number | null): number {
  return Math.min(solo.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS, leaseMs === null ? Number.POSITIVE_INFINITY : leaseMs / 2);
}

/** A grant that comes late is good for what is left of the trust: giving it up and undoing it would cost more. */
function tryTimeout(solo: SoloSettings, leaseMs: number | null, marginMs: number): number {
  return Math.min(solo.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS, leaseMs === null ? Number.POSITIVE_INFINITY : leaseMs - marginMs);
}

export function fullName(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

function defaultMargin(leaseMs: number | null): number {
  return leaseMs === null ? 0 : Math.min(leaseMs / 5, Math.max(leaseMs / 20, 50));
}
