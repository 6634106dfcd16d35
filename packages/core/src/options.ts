import { hostname } from 'node:os';
import { settleBackoff, type Backoff, type BackoffOptions } from './backoff.ts';
import { createSuspendAwareClock, processClock, type Clock } from './clock.ts';
import { OptionError, quote, UnsupportedError } from './errors.ts';
import type { Identity, LockProvider, OccurrenceRequest } from './provider.ts';

/** Longest lock name, in code points (so 500 emoji are 500). */
export const MAX_NAME_LENGTH = 500;
const MAX_NAMESPACE_LENGTH = 100;
const MAX_LABEL_LENGTH = 200;
const DEFAULT_CALL_TIMEOUT_MS = 5_000;

export interface SoloOptions {
  /** Where locks are kept. Several solos may share one; the last of them to close closes it. */
  readonly provider: LockProvider;
  /**
   * Put before every name as `namespace/`, so that programs which share a store keep apart. Up to 100 characters, no `/`.
   * @default none
   */
  readonly namespace?: string;
  /**
   * How long the provider keeps a lease without news from us, in ms: the time until another replica takes over from one that is
   * paused or cut off. Renewed every third of it. `null`: held until the session or process ends, where the provider can.
   * @default 30_000
   */
  readonly leaseMs?: number | null;
  /**
   * How much earlier than the provider we stop trusting a lease, in ms. Must cover clocks whose rates differ and timers that are
   * late. @default a twentieth of the lease, at least 50 ms, at most a fifth of the lease
   */
  readonly marginMs?: number;
  /** Shown as the holder, beside host and process id; for example a replica's name. Up to 200 characters. @default none */
  readonly label?: string;
  /**
   * How long to wait for one answer of the provider, in ms. @default 5_000; never more than half the lease, and for an acquisition
   * never more than its lease could be trusted
   */
  readonly callTimeoutMs?: number;
  /** Where holders read the passing of time. For tests. @default the process's monotonic clock, with time spent in suspend added */
  readonly clock?: Clock;
}

export interface SoloSettings {
  readonly provider: LockProvider;
  readonly namespace: string;
  readonly leaseMs: number | null;
  readonly marginMs: number | undefined;
  readonly callTimeoutMs: number | undefined;
  readonly identity: Identity;
  readonly clock: Clock;
}

/** Terms of one acquisition. */
export interface LeaseOptions {
  /** As for `createSolo`. @default what `createSolo` was given */
  readonly leaseMs?: number | null | undefined;
  /** Gives up waiting, and asks the handler to stop. Rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface OccurrenceOptions {
  /**
   * The scheduled instant this run is for, or a function that tells it. It runs at most `attempts` times over the whole fleet,
   * whatever the clocks; a run without one is only kept from overlapping.
   */
  readonly occurrence?: Date | (() => Date) | undefined;
  /** How many runs of one occurrence may start, the first one included. More than 1 recovers from crashes and failures. @default 1 */
  readonly attempts?: number | undefined;
  /**
   * For how long to wait for an occurrence that is not yet due by the provider's clock, in ms; beyond it, it is refused as `early`.
   * @default Infinity
   */
  readonly maxEarlyMs?: number | undefined;
  /** A digest of the schedule, kept in the record. Adapters set it. */
  readonly scheduleHash?: string | undefined;
}

/** What to do when somebody else holds the lock. @default `{ onBusy: 'skip' }` */
export type BusyPolicy =
  /** `skip` returns `{ status: 'skipped' }` at once; `throw` rejects with `LockBusyError`. */
  | { readonly onBusy?: 'skip' | 'throw' | undefined }
  /** Tries again with backoff, then skips. */
  | { readonly onBusy: 'retry'; readonly retry?: BackoffOptions | undefined }
  /** Waits its turn for up to `waitMs`, then rejects with `LockTimeoutError`. `Infinity` is allowed, but said. */
  | { readonly onBusy: 'wait'; readonly waitMs: number }
  /**
   * Waits until the occurrence is done elsewhere, then skips; with `attempts: 2` it takes it over if its holder dies or fails
   * (with 1 attempt there is none left to take over: `exhausted`). When it is an earlier occurrence that still runs, only the
   * newest waits for it: never a burst of late runs.
   */
  | { readonly onBusy: 'standby' };

export interface OutageOptions {
  /**
   * What to do when the provider cannot be asked. `retry`: ask again with backoff, for up to `outageMs`, or until a later occurrence
   * of the name is asked for here; then reject with the `ProviderError`. `fail`: reject with it at once. The handler never runs
   * without its lock. @default 'retry' with onBusy 'wait' and 'standby', and where `outageMs` is given; 'fail' otherwise
   */
  readonly onOutage?: 'fail' | 'retry' | undefined;
  /**
   * How long an outage may last, in ms, counted from the first try that failed; `Infinity` is allowed.
   * @default 60_000; with onBusy 'wait' as long as it waits
   */
  readonly outageMs?: number | undefined;
}

export interface WatchOptions {
  /** The handler's signal aborts after this long, with a `RunTimeoutError`, in ms. @default none */
  readonly maxRunMs?: number | undefined;
  /** How long after its signal aborted a handler counts as stuck, in ms. @default 10_000 */
  readonly graceMs?: number | undefined;
  /** Called for a stuck handler, whose lease is kept; the place to end the process. */
  readonly onStuck?: ((stuck: { readonly name: string; readonly runningMs: number }) => void) | undefined;
}

export type RunOptions = LeaseOptions & OccurrenceOptions & BusyPolicy & OutageOptions & WatchOptions;

export type SettledPolicy = (
  | { readonly onBusy: 'skip' | 'throw' | 'standby' }
  | { readonly onBusy: 'retry'; readonly retry: Backoff }
  | { readonly onBusy: 'wait'; readonly waitMs: number }
) & {
  /** How long the provider may be away, in ms; 0: the first failure is told. */
  readonly outageMs: number;
};

/** What the core works with: checked, and nothing left to a default. */
export interface Terms {
  /** As the caller wrote it. */
  readonly name: string;
  /** With the namespace: what the provider is asked for. */
  readonly fullName: string;
  readonly leaseMs: number | null;
  readonly marginMs: number;
  readonly callTimeoutMs: number;
  readonly occurrence: OccurrenceRequest | undefined;
  /** How long an occurrence that is not yet due is waited for, in ms. */
  readonly maxEarlyMs: number;
  readonly signal: AbortSignal | undefined;
}

export interface SettledWatch {
  readonly maxRunMs: number | undefined;
  readonly graceMs: number;
  readonly onStuck: WatchOptions['onStuck'];
}

export function settleSolo(options: SoloOptions): SoloSettings {
  checkOptions('createSolo', options);
  const { provider, namespace = '', leaseMs = 30_000, label, marginMs, callTimeoutMs } = options;
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
  const clock = options.clock ?? (provider.guarantees.clock === 'process' ? processClock : createSuspendAwareClock());
  return Object.freeze({
    provider,
    namespace,
    leaseMs,
    marginMs,
    callTimeoutMs,
    identity: Object.freeze({ host: hostname(), pid: process.pid, ...(label === undefined ? {} : { label }) }),
    clock,
  });
}

export function settleTerms(solo: SoloSettings, name: string, options: LeaseOptions & OccurrenceOptions): Terms {
  checkName(name);
  checkOptions(quote(name), options);
  const { leaseMs = solo.leaseMs, occurrence, attempts = 1, maxEarlyMs = Number.POSITIVE_INFINITY, scheduleHash, signal } = options;
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
    occurrence: at === undefined ? undefined : { at: new Date(at), attempts, scheduleHash },
    maxEarlyMs,
    signal,
  };
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
      const retry = settleBackoff('retry' in options ? options.retry : undefined);
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
  return { maxRunMs, graceMs, onStuck };
}

export function checkWait(waitMs: number | undefined, name: string): number {
  if (typeof waitMs !== 'number' || !(waitMs >= 0)) {
    throw new OptionError(`waitMs is a number of milliseconds from 0 (or Infinity), not ${String(waitMs)} (lock ${quote(name)}).`);
  }
  return waitMs;
}

export function checkName(name: string): void {
  if (typeof name !== 'string' || name.length === 0) throw new OptionError('A lock needs a name: a string that is not empty.');
  // Half a surrogate pair has no UTF-8 form: two such names would become one.
  if (!name.isWellFormed()) throw new OptionError(`The lock name ${quote(name)} is not well-formed Unicode.`);
  const length = name.length > MAX_NAME_LENGTH ? [...name].length : name.length;
  if (length > MAX_NAME_LENGTH) {
    throw new OptionError(`The lock name ${quote(name)} has ${length} characters; ${MAX_NAME_LENGTH} are allowed.`);
  }
}

export function checkHandler(name: string, handler: unknown): void {
  if (typeof handler !== 'function') throw new OptionError(`The handler of ${quote(name)} is a function, not ${typeof handler}.`);
}

function checkOptions(whose: string, options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError(`The options of ${whose} are an object, not ${options === null ? 'null' : typeof options}.`);
  }
}

/** How long one call of the provider may take: an answer that comes after half the lease is not worth much. */
export function callTimeout(solo: SoloSettings, leaseMs: number | null): number {
  return Math.min(solo.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS, leaseMs === null ? Number.POSITIVE_INFINITY : leaseMs / 2);
}

/** A grant that comes late is good for what is left of the trust: giving it up and taking it back would cost more. */
function tryTimeout(solo: SoloSettings, leaseMs: number | null, marginMs: number): number {
  return Math.min(solo.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS, leaseMs === null ? Number.POSITIVE_INFINITY : leaseMs - marginMs);
}

export function fullName(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

export function checkLease(provider: LockProvider, leaseMs: number | null): void {
  const { minLeaseMs, unbounded, expiry } = provider.guarantees;
  if (leaseMs === null) {
    if (!unbounded) throw new UnsupportedError(`${provider.kind} cannot hold a lease without an end: give leaseMs in ms.`);
    return;
  }
  if (!expiry) throw new UnsupportedError(`${provider.kind} cannot end a lease by time here: give leaseMs: null.`);
  checkMs('leaseMs', leaseMs, minLeaseMs);
}

function checkMargin(marginMs: number | undefined, leaseMs: number | null): void {
  if (leaseMs === null || marginMs === undefined || marginMs < leaseMs / 2) return;
  throw new OptionError(`marginMs = ${marginMs} leaves too little of leaseMs = ${leaseMs}: keep it below half.`);
}

export function checkMs(option: string, value: number, min: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > 2 ** 31 - 1) {
    throw new OptionError(`${option} is a number of milliseconds from ${min} to ${2 ** 31 - 1}, not ${String(value)}.`);
  }
}

function defaultMargin(leaseMs: number | null): number {
  return leaseMs === null ? 0 : Math.min(leaseMs / 5, Math.max(leaseMs / 20, 50));
}
