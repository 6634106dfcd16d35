import type { AcquireRequest, Outcome } from '@solorun/core';
import type { Key } from '../server/keys.ts';
import type { LockSession } from './session.ts';

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

  /** Its occurrence stands in the table already, and what becomes of it must survive a crash of the server. */
  get durable(): boolean {
    return this.request.occurrence !== undefined;
  }

  /** As far as this process knows. */
  get isHeld(): boolean {
    return this.ended === undefined && !this.on.lost.aborted;
  }

  end(outcome: Outcome): void {
    this.ended = { outcome, at: performance.now() };
  }
}

/** Locks held in this process, on whichever session: a session would be granted its own lock a second time. */
export class Holdings {
  readonly #byLock = new Map<string, Holding>();

  get size(): number {
    return this.#byLock.size;
  }

  of(lock: string): Holding | undefined {
    return this.#byLock.get(lock);
  }

  has(lock: string): boolean {
    return this.#byLock.has(lock);
  }

  add(holding: Holding): void {
    this.#byLock.set(holding.key.lock, holding);
    holding.on.hold(holding.key.lock);
  }

  /** The lock is not held here any more. */
  end(holding: Holding, outcome: Outcome): void {
    const { lock } = holding.key;
    holding.end(outcome);
    this.#byLock.delete(lock);
    holding.on.keys.delete(lock);
  }

  /** The session has ended, and its locks with it. */
  lost(on: LockSession): void {
    for (const [lock, holding] of this.#byLock) if (holding.on === on) this.#byLock.delete(lock);
  }
}
