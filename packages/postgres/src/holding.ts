import type { AcquireRequest, Outcome } from '@solorun/core';
import type { Key } from './key.ts';
import type { LockSession } from './lock-session.ts';

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
