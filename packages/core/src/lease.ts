import type { Grant, Outcome } from './provider.ts';

/** The scheduled time that a run is for, as its handler sees it. */
export interface Occurrence {
  readonly at: Date;
  /** 1, 2, … of this occurrence, over the whole fleet. */
  readonly attempt: number;
  /** True when an earlier attempt of this occurrence crashed or failed. */
  readonly recovering: boolean;
  /** How long after `at` the lock was acquired, in ms, by this machine's clock; 0 where that clock is behind. */
  readonly lateMs: number;
}

/** A lock that is held. It ends with `release()`, at the end of an `await using` block, or by being lost. */
export interface Lease extends AsyncDisposable {
  readonly name: string;
  /** The fencing token: grows with every acquisition of this name. Hand it to each system that can refuse an older one. */
  readonly fence: bigint;
  readonly occurrence: Occurrence | undefined;
  /**
   * Aborts with a `LeaseLostError` as soon as the lease can no longer be trusted, before another replica can acquire the name.
   * After a pause, `signal.aborted` is answered by the clock, even before the timer has had its turn. A signal made of this one by
   * `AbortSignal.any` has to wait for the timer.
   *
   * An end before its time (a Postgres session that ends, a release by an operator) is known once the event loop has read of it:
   * see `confirm()`.
   */
  readonly signal: AbortSignal;
  /** The lease as the provider granted it: for functions of providers' packages that take a lease. */
  readonly grant: Grant;
  /** How long the lease is sure to last without further news, in ms; 0 once lost or released, `Infinity` without expiry. */
  remainingMs(): number;
  /**
   * Returns if the lease is still held and its holder was not asked to stop; to be called before each step that must not happen
   * twice.
   *
   * It reads the clock and goes by what this process has read so far; it sends nothing. An event loop that stood still has not
   * yet read that a Postgres session ended meanwhile; after long synchronous work `confirm()` is the stronger question.
   *
   * @throws LeaseLostError; the reason of `signal`
   */
  checkpoint(): void;
  /**
   * Asks the provider whether the lease is still held, which costs a round trip, and renews it. Resolves if it is, and its holder
   * was not asked to stop. Like every answer it is true of the moment in which the provider gave it.
   *
   * @throws LeaseLostError; the reason of `signal`; ProviderError if the provider could not be asked: the lease may still be held
   */
  confirm(): Promise<void>;
  /**
   * Releases the name. Quiet when called twice. Resolves to true if the provider confirmed that it was ours to the end.
   * Never rejects: the `unconfirmed` event reports trouble, and the name comes free when the lease expires.
   *
   * @param outcome what to record, for a lease with an occurrence. @default `{ result: 'done' }`
   */
  release(outcome?: Outcome): Promise<boolean>;
}

/**
 * The end of trust, `sentAt + leaseMs − margin` on the holder's own clock. The provider counts its `leaseMs` from when it
 * sees the request, which is never before `sentAt`, so the holder always stops first. The margin is for clocks whose rates differ
 * and for timers that are late.
 */
export function trustedUntil(sentAt: number, leaseMs: number | null, marginMs: number): number {
  return leaseMs === null ? Number.POSITIVE_INFINITY : sentAt + leaseMs - marginMs;
}
