import type { AcquireRequest, Outcome } from '@solorun/core';
import type { Key } from '../server/keys.ts';
import type { LockSession } from './session.ts';

/** Whether the run is written down in the statements that begin and end it: it has an occurrence, or is to be kept. */
export function isKept({ occurrence, history }: AcquireRequest): boolean {
  return occurrence !== undefined || history === true;
}

/** A session lock from its acquisition to its end: what the table is to say of it, and what a guard asks. */
export class Holding {
  readonly kind = 'advisory' as const;
  readonly request: AcquireRequest;
  readonly key: Key;
  readonly fence: bigint;
  readonly on: LockSession;
  /** By `performance.now()`. */
  readonly since: number = performance.now();
  readonly attempt: number;
  /** The table tells of it. */
  written: boolean;
  ended: { readonly outcome: Outcome; readonly at: number } | undefined;

  constructor(request: AcquireRequest, key: Key, fence: bigint, on: LockSession, attempt = 1) {
    this.request = request;
    this.key = key;
    this.fence = fence;
    this.on = on;
    this.attempt = attempt;
    this.written = this.durable;
  }

  /** It stands in the table already, and what becomes of it must survive a crash of the server. */
  get durable(): boolean {
    return isKept(this.request);
  }

  /** As far as this process knows. */
  get isHeld(): boolean {
    return this.ended === undefined && !this.on.lost.aborted;
  }

  end(outcome: Outcome): void {
    this.ended = { outcome, at: performance.now() };
  }
}

/** A lock that a session of this process has got from the server. */
interface Held {
  readonly on: LockSession;
  /** The lock is given back after that unless it is renewed, by `performance.now()`. */
  until: number;
  /** The acquisition that it is held for. Undefined: a waiter has got it, and is about to try. */
  holding: Holding | undefined;
}

/** The locks that this process holds, on whichever session: a session would be granted its own lock a second time. */
export class Holdings {
  readonly #byLock = new Map<string, Held>();
  /** How many of them are on each session. */
  readonly #counts = new Map<LockSession, number>();

  get size(): number {
    return this.#byLock.size;
  }

  /** The acquisition that a lock is held for. */
  of(lock: string): Holding | undefined {
    return this.#byLock.get(lock)?.holding;
  }

  has(lock: string): boolean {
    return this.of(lock) !== undefined;
  }

  isOn(on: LockSession, lock: string): boolean {
    return this.#byLock.get(lock)?.on === on;
  }

  countOn(on: LockSession): number {
    return this.#counts.get(on) ?? 0;
  }

  /** A session has got the lock. One that has ended holds nothing. */
  hold(on: LockSession, lock: string, until: number, holding?: Holding): void {
    if (on.lost.aborted) return;
    this.#remove(lock);
    this.#byLock.set(lock, { on, until, holding });
    this.#counts.set(on, this.countOn(on) + 1);
  }

  /** The lock lasts until then from now on, if the session holds it. */
  extend(on: LockSession, lock: string, until: number): void {
    const held = this.#byLock.get(lock);
    if (held?.on === on) held.until = until;
  }

  /** The lock lasts no longer than that, if the session holds it. */
  shorten(on: LockSession, lock: string, until: number): void {
    const held = this.#byLock.get(lock);
    if (held?.on === on) held.until = Math.min(held.until, until);
  }

  /** The locks of a session that nobody has renewed in time. */
  lapsed(on: LockSession, now: number): string[] {
    const lapsed: string[] = [];
    if (this.countOn(on) === 0) return lapsed;
    for (const [lock, held] of this.#byLock) if (held.on === on && now > held.until) lapsed.push(lock);
    return lapsed;
  }

  /** The session does not hold the lock any more. */
  drop(on: LockSession, lock: string): void {
    if (this.isOn(on, lock)) this.#remove(lock);
  }

  /** The acquisition is over. */
  end(holding: Holding, outcome: Outcome): void {
    holding.end(outcome);
    this.drop(holding.on, holding.key.lock);
  }

  /** The session has ended, and its locks with it. */
  lost(on: LockSession): void {
    for (const [lock, held] of this.#byLock) if (held.on === on) this.#remove(lock);
  }

  #remove(lock: string): void {
    const held = this.#byLock.get(lock);
    if (held === undefined) return;
    this.#byLock.delete(lock);
    const left = this.countOn(held.on) - 1;
    if (left > 0) this.#counts.set(held.on, left);
    else this.#counts.delete(held.on);
  }
}
