import { OptionError, quote, UnsupportedError } from './errors.ts';
import { checkKnown, ofSchedule } from './known-options.ts';
import type { LockProvider, Schedule } from './provider.ts';

/** Longest lock name, in code points (so 500 emoji are 500). */
export const MAX_NAME_LENGTH = 500;

export function checkName(name: string): void {
  if (typeof name !== 'string' || name.length === 0) throw new OptionError('A lock needs a name: a string that is not empty.');
  // Half a surrogate pair has no UTF-8 form: two such names would become one.
  if (!name.isWellFormed()) throw new OptionError(`The lock name ${quote(name)} is not well-formed Unicode.`);
  const length = name.length > MAX_NAME_LENGTH ? [...name].length : name.length;
  if (length > MAX_NAME_LENGTH) {
    throw new OptionError(`The lock name ${quote(name)} has ${length} characters; ${MAX_NAME_LENGTH} are allowed.`);
  }
}

export function checkObject(whose: string, options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError(`The options of ${whose} are an object, not ${options === null ? 'null' : typeof options}.`);
  }
}

export function checkHandler(name: string, handler: unknown): void {
  if (typeof handler !== 'function') throw new OptionError(`The handler of ${quote(name)} is a function, not ${typeof handler}.`);
}

export function checkFence(name: string, fence: unknown): void {
  if (typeof fence === 'bigint') return;
  throw new OptionError(`The fence of ${quote(name)} is a bigint, as inspect() shows it, not ${typeof fence}.`);
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

export function checkMargin(marginMs: number | undefined, leaseMs: number | null): void {
  if (leaseMs === null || marginMs === undefined || marginMs < leaseMs / 2) return;
  throw new OptionError(`marginMs = ${marginMs} leaves too little of leaseMs = ${leaseMs}: keep it below half.`);
}

/** A word in JavaScript without types may well be 'false'. */
export function checkFlag(option: string, value: unknown, name: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new OptionError(`${option} is true or false, not ${String(value)} (lock ${quote(name)}).`);
}

export function checkSchedule(name: string, schedule: Schedule): void {
  checkObject(`the schedule of ${quote(name)}`, schedule);
  checkKnown(ofSchedule, schedule);
  if ('everyMs' in schedule) {
    if (Number.isSafeInteger(schedule.everyMs) && schedule.everyMs > 0) return;
    throw new OptionError(`The schedule of ${quote(name)}: everyMs is a positive whole number, not ${String(schedule.everyMs)}.`);
  }
  const { expression, timezone } = schedule;
  if (typeof expression === 'string' && (timezone === undefined || typeof timezone === 'string')) return;
  throw new OptionError(`The schedule of ${quote(name)} is { expression, timezone } of strings, or { everyMs }.`);
}

export function checkMs(option: string, value: number, min: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > 2 ** 31 - 1) {
    throw new OptionError(`${option} is a number of milliseconds from ${min} to ${2 ** 31 - 1}, not ${String(value)}.`);
  }
}

export function checkWait(waitMs: number | undefined, name: string): number {
  if (typeof waitMs !== 'number' || !(waitMs >= 0)) {
    throw new OptionError(`waitMs is a number of milliseconds from 0 (or Infinity), not ${String(waitMs)} (lock ${quote(name)}).`);
  }
  return waitMs;
}
