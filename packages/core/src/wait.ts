import { delay, linkAbort } from './abort.ts';
import type { Attempt } from './attempts.ts';
import type { Core } from './core.ts';
import { describeMs, LockTimeoutError, type ProviderError } from './errors.ts';
import { Hints } from './hints.ts';
import type { Terms } from './settle.ts';
import { Outage } from './outage.ts';
import type { AcquireRequest, Refusal } from './provider.ts';
import type { Place } from './queue.ts';
import type { Standby } from './standbys.ts';
import { tellBusy, tellDrift, tellLongWait, type Early, type Held } from './reports.ts';

export interface WaitOptions {
  /** @default Infinity */
  readonly waitMs?: number;
  /** Waits for its occurrence to be done elsewhere: see `Standbys`. @default false */
  readonly standby?: boolean;
  /** How long the provider may be away, in ms. */
  readonly outageMs: number;
}

/** Ends of a wait that are not errors of the caller's. */
const TIMED_OUT = Symbol('timed out');
const DISPLACED = Symbol('displaced by a later occurrence');

/** One acquisition that waits: in the local queue of the name, for the provider once it is the first there, and through outages. */
export class Wait {
  readonly #core: Core;
  readonly #terms: Terms;
  readonly #standby: Standby | undefined;
  readonly #startedAt: number = performance.now();
  /** Aborts when the caller gives up or the solo closes. Only that cuts a try short; the end of the time for waiting does not. */
  readonly #quit = new AbortController();
  /** Aborts then, too, and when the time for waiting is over or a later occurrence displaces this one. */
  readonly #stop = new AbortController();
  readonly #unlinks: readonly (() => void)[];
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #hints: Hints;
  readonly #outage: Outage;
  #request: AcquireRequest;
  /** In the local queue. */
  #place: Place | undefined;
  /** The last refusal because of a holder: the error names it. */
  #held: Held | undefined;
  /** Why the last try had no answer. */
  #trouble: ProviderError | undefined;
  /** When the occurrence is due, while the wait is for that. */
  #due: { readonly at: number; readonly settling: boolean } | undefined;
  /** How long the wait was for the occurrence to be due, in all. */
  #earlyMs = 0;

  constructor(core: Core, terms: Terms, options: WaitOptions) {
    const { waitMs = Number.POSITIVE_INFINITY, standby = false, outageMs } = options;
    this.#core = core;
    this.#terms = terms;
    if (standby) this.#standby = { terms, displace: () => this.#stop.abort(DISPLACED) };
    this.#unlinks = [
      linkAbort(terms.signal, this.#quit),
      linkAbort(core.closing.signal, this.#quit),
      linkAbort(this.#quit.signal, this.#stop),
    ];
    if (waitMs !== Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(() => this.#stop.abort(TIMED_OUT), Math.min(waitMs, 2 ** 31 - 1));
    }
    this.#outage = new Outage(core, terms, outageMs);
    this.#request = core.attempts.request(terms);
    this.#hints = new Hints(core, terms, this.#stop.signal);
  }

  /** Tries until the name is acquired, or there is nothing left to wait for. To be called once. */
  async run(): Promise<Attempt> {
    try {
      for (;;) {
        // A standby tries before it takes its place, for its occurrence may be done already.
        if (this.#standby === undefined) this.#place ??= this.#enter();
        await this.#place?.head(this.#stop.signal);
        this.#throwIfStopped();
        let attempt: Attempt;
        try {
          this.#hints.trying();
          attempt = await this.#core.attempts.make(this.#terms, this.#request, this.#quit.signal);
          this.#hints.tried();
        } catch (error) {
          await this.#rideOut(error);
          continue;
        }
        this.#trouble = undefined;
        this.#outage.over();
        if (attempt.acquired) return attempt;
        if (attempt.reason === 'early') {
          if (!this.#mayComeDue(attempt)) return attempt;
          await this.#untilDue(attempt);
        } else if (attempt.reason === 'held') {
          if (!this.#mayComeFree(attempt)) return superseded(attempt);
          this.#place ??= this.#enter();
          // Waiters that become the first only later try at once: their last refusal is old by then.
          if (this.#place.isHead()) await this.#hints.untilWorthATry(this.#request, attempt, this.#place);
          this.#stop.signal.throwIfAborted();
        } else return attempt;
      }
    } catch (error) {
      return this.#endedBy(error);
    } finally {
      this.#end();
    }
  }

  #enter(): Place {
    return this.#core.queue.enter(this.#terms.fullName);
  }

  #throwIfStopped(): void {
    // Even a wait of no time at all is worth one try.
    const untried = this.#held === undefined && this.#trouble === undefined;
    if (!untried || this.#stop.signal.reason !== TIMED_OUT) this.#stop.signal.throwIfAborted();
  }

  /** Waits until the provider may be asked again. @throws the error, if it cannot pass */
  async #rideOut(error: unknown): Promise<void> {
    this.#hints.end();
    if (this.#quit.signal.aborted) throw error;
    // The unknown try is being undone by its nonce, so the next one needs a nonce of its own.
    this.#request = this.#core.attempts.request(this.#terms);
    this.#trouble = await this.#outage.ride(error, this.#stop.signal);
    this.#stop.signal.throwIfAborted();
  }

  /** False: the occurrence was early for longer than it may be. */
  #mayComeDue(early: Early): boolean {
    tellDrift(this.#core, this.#terms, early);
    this.#due = { at: performance.now() + early.earlyMs, settling: early.settling ?? false };
    this.#earlyMs += early.earlyMs;
    return this.#earlyMs <= this.#terms.maxEarlyMs;
  }

  async #untilDue(early: Early): Promise<void> {
    tellLongWait(this.#core, this.#terms, early);
    this.#place?.leave();
    this.#place = undefined;
    await delay(Math.ceil(early.earlyMs), this.#stop.signal);
    this.#stop.signal.throwIfAborted();
    this.#due = undefined;
  }

  /** False: a standby for a later occurrence waits already. */
  #mayComeFree(held: Held): boolean {
    if (this.#held === undefined) tellBusy(this.#core, this.#terms, held);
    this.#held = held;
    return this.#standby === undefined || this.#core.standbys.enter(this.#standby, held);
  }

  #endedBy(error: unknown): Refusal {
    if (error === DISPLACED) return superseded(this.#held);
    if (error !== TIMED_OUT) throw error;
    // No holder was in the way: the provider could not be asked.
    if (this.#held === undefined && this.#trouble !== undefined) throw this.#trouble;
    throw this.#timedOut();
  }

  #timedOut(): LockTimeoutError {
    const [held, due] = [this.#held, this.#due];
    const detail =
      due === undefined
        ? held?.detail
        : `its occurrence is due only in ${describeMs(due.at - performance.now())}, by the provider's clock`;
    return new LockTimeoutError(this.#terms.name, held?.holder, held?.heldForMs, performance.now() - this.#startedAt, {
      detail,
      settling: due?.settling ?? held?.settling,
      ...(this.#trouble === undefined ? {} : { cause: this.#trouble }),
    });
  }

  #end(): void {
    clearTimeout(this.#timer);
    for (const unlink of this.#unlinks) unlink();
    this.#hints.end();
    this.#outage.end();
    this.#place?.leave();
    if (this.#standby !== undefined) this.#core.standbys.leave(this.#standby);
  }
}

function superseded(held: Held | undefined): Refusal {
  return { acquired: false, reason: 'superseded', record: held?.record };
}
