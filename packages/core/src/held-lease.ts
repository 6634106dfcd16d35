import { onceAborted } from './abort.ts';
import { createAskingController } from './asking-signal.ts';
import type { Clock } from './clock.ts';
import { LeaseLostError, type LossReason } from './errors.ts';
import { trustedUntil, type Occurrence } from './lease.ts';
import type { Grant, OccurrenceRequest, Outcome } from './provider.ts';

export interface LeaseTerms {
  /** The caller's name for it, without the namespace. */
  readonly name: string;
  readonly grant: Grant;
  readonly occurrence: OccurrenceRequest | undefined;
  readonly leaseMs: number | null;
  readonly marginMs: number;
  readonly sentAt: number;
  readonly clock: Clock;
}

/** `taken`: the provider says that it was not ours any more. `unknown`: it could not be asked; the lease will expire. */
export type ReleaseAnswer = 'released' | 'taken' | 'unknown';

export interface LeaseKeeper {
  /** Called once, synchronously, when the lease is found lost. */
  lost(lease: HeldLease, error: LeaseLostError): void;
  /** Has the lease renewed or lost now, by the provider's answer. @throws ProviderError */
  confirm(lease: HeldLease): Promise<void>;
  /** Never rejects. */
  release(lease: HeldLease, outcome: Outcome): Promise<ReleaseAnswer>;
}

/**
 * The core's own view of a lease, with the doors through which its keeper moves it. Users hold a `LeaseHandle`, a `RunContext` or a
 * `Term`.
 */
export class HeldLease {
  readonly name: string;
  readonly occurrence: Occurrence | undefined;
  readonly grant: Grant;
  readonly leaseMs: number | null;
  /** When the try that acquired it was sent: its time counts from here. */
  readonly sentAt: number;
  readonly acquiredAt: number;
  readonly #clock: Clock;
  readonly #keeper: LeaseKeeper;
  readonly #marginMs: number;
  #trustedUntil: number;
  /** Made when the signal is first read: many handlers never read it, and it costs more than the rest of a lease. */
  #controller: AbortController | undefined;
  #stopped: { readonly reason: unknown } | undefined;
  #onStopped: (() => void) | undefined;
  #lost: LeaseLostError | undefined;
  #released: Promise<ReleaseAnswer> | undefined;
  #onOver: (() => void) | undefined;
  #forgetProviderLoss = (): void => {};

  constructor(terms: LeaseTerms, keeper: LeaseKeeper) {
    const { grant, clock } = terms;
    this.name = terms.name;
    this.grant = grant;
    this.leaseMs = terms.leaseMs;
    this.sentAt = terms.sentAt;
    this.acquiredAt = clock.now();
    this.#clock = clock;
    this.#keeper = keeper;
    this.#marginMs = terms.marginMs;
    this.#trustedUntil = trustedUntil(terms.sentAt, terms.leaseMs, terms.marginMs);
    this.occurrence =
      terms.occurrence === undefined
        ? undefined
        : {
            at: terms.occurrence.at,
            attempt: grant.attempt,
            recovering: grant.attempt > 1,
            lateMs: Math.max(0, Date.now() - terms.occurrence.at.getTime()),
          };
    const { lost } = grant;
    if (lost !== undefined) this.#forgetProviderLoss = onceAborted(lost, () => this.lose('session', lost.reason));
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = createAskingController(this);
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped.reason);
    }
    return this.#controller.signal;
  }

  get fence(): bigint {
    return this.grant.fence;
  }

  get trustedUntil(): number {
    return this.#trustedUntil;
  }

  /** How long it can be trusted after a renewal, in ms. */
  get lastsMs(): number {
    return trustedUntil(0, this.leaseMs, this.#marginMs);
  }

  get lost(): LeaseLostError | undefined {
    return this.#lost;
  }

  /** Why the handler was asked to stop, if it was. */
  get stopped(): { readonly reason: unknown } | undefined {
    return this.#stopped;
  }

  get ended(): boolean {
    return this.#lost !== undefined || this.#released !== undefined;
  }

  /** Reads the clock, and finds the lease lost if its time is over. */
  isTrusted(): boolean {
    if (this.ended) return false;
    if (this.#trustedUntil === Number.POSITIVE_INFINITY || this.#clock.now() < this.#trustedUntil) return true;
    this.lose('expired');
    return false;
  }

  remainingMs(): number {
    return this.isTrusted() ? Math.max(0, this.#trustedUntil - this.#clock.now()) : 0;
  }

  checkpoint(): void {
    if (!this.isTrusted()) throw this.#lost ?? new LeaseLostError(this.name, this.fence, 'released');
    if (this.#stopped !== undefined) throw this.#stopped.reason;
  }

  async confirm(): Promise<void> {
    this.checkpoint();
    try {
      await this.#keeper.confirm(this);
    } catch (error) {
      // A session that ended answers nothing, and the lease is known to be lost by now.
      throw this.#lost ?? error;
    }
    this.checkpoint();
  }

  /** A renewal was confirmed. It counts only if the answer came while the lease was trusted. */
  renewed(sentAt: number): void {
    if (!this.isTrusted()) return;
    this.#trustedUntil = Math.max(this.#trustedUntil, trustedUntil(sentAt, this.leaseMs, this.#marginMs));
  }

  lose(reason: LossReason, cause?: unknown): void {
    if (this.ended) return;
    this.#lost = new LeaseLostError(this.name, this.fence, reason, cause === undefined ? {} : { cause });
    this.#forgetProviderLoss();
    this.abort(this.#lost);
    this.#keeper.lost(this, this.#lost);
    this.#onOver?.();
  }

  /** Asks the handler to stop, for a reason other than loss; the lease is kept and renewed until it is released. */
  abort(reason: unknown): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = { reason };
    this.#controller?.abort(reason);
    this.#onStopped?.();
  }

  /** Calls `listener` (only the latest one given) when the handler is asked to stop, without making a signal. */
  onStopped(listener: (() => void) | undefined): void {
    this.#onStopped = listener;
    if (this.#stopped !== undefined) listener?.();
  }

  async release(outcome: Outcome = { result: 'done' }): Promise<boolean> {
    return (await this.end(outcome)) === 'released';
  }

  /** As `release()`, with the whole answer. */
  end(outcome: Outcome): Promise<ReleaseAnswer> {
    if (this.#released === undefined) {
      this.isTrusted();
      this.#forgetProviderLoss();
      this.#released = this.#keeper.release(this, outcome);
      void this.#released.then(() => this.#onOver?.());
    }
    return this.#released;
  }

  /** Resolves when the lease has been lost or released. */
  over(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#lost !== undefined) resolve();
      else if (this.#released === undefined) this.#onOver = resolve;
      else void this.#released.then(() => resolve());
    });
  }
}
