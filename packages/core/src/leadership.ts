import { messageOf, quote } from './errors.ts';
import { callQuietly } from './events.ts';
import type { HeldLease } from './held-lease.ts';
import type { Grant } from './provider.ts';

/** A leader's view of its term. */
export interface Term {
  readonly name: string;
  /** Aborts when the term ends, for whatever reason. */
  readonly signal: AbortSignal;
  /** The fencing token of the term. */
  readonly fence: bigint;
  readonly remainingMs: () => number;
  /** Returns while the term lasts. @throws LeaseLostError */
  readonly checkpoint: () => void;
  /** As `Lease.confirm`. */
  readonly confirm: () => Promise<void>;
  /** As `Lease.grant`. */
  readonly grant: Grant;
}

export interface TermHandlers {
  /**
   * Called at the start of a term. The term goes on after it returned: until it is lost, resigned or stopped. If it rejects, the
   * term ends, and after a pause this replica campaigns again.
   */
  readonly onElected: (term: Term) => unknown;
  /** Called at once when a term ends, with the reason. The lock is released after both have settled. */
  readonly onDeposed?: ((reason: unknown) => unknown) | undefined;
}

/** One term of a leader, from the grant until the lock is released. */
export class Leadership {
  readonly #lease: HeldLease;
  readonly #handlers: TermHandlers;
  /** Of the election. */
  readonly #stopping: AbortSignal;
  /** `onElected` has been called. */
  #begun = false;
  #deposed: Promise<unknown> | undefined;
  #failure: { readonly error: unknown } | undefined;
  /** Resolves when both handlers have settled and the lock is released. */
  readonly over: Promise<void>;

  constructor(lease: HeldLease, handlers: TermHandlers, stopping: AbortSignal) {
    this.#lease = lease;
    this.#handlers = handlers;
    this.#stopping = stopping;
    const ended = new Promise<void>((resolve) => {
      const onEnd = (): void => {
        this.#depose();
        resolve();
      };
      if (lease.signal.aborted) onEnd();
      else lease.signal.addEventListener('abort', onEnd, { once: true });
    });
    const stop = (): void => this.end(stopping.reason);
    if (stopping.aborted) stop();
    else stopping.addEventListener('abort', stop, { once: true });
    // In a turn of its own, for the leader may ask at the start of its term whether it leads.
    this.over = Promise.resolve().then(async () => {
      await this.#serve(ended);
      stopping.removeEventListener('abort', stop);
    });
  }

  /** Asks the clock. */
  get lasts(): boolean {
    return !this.#lease.signal.aborted;
  }

  /** Why `onElected` failed, if it did. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  end(reason: unknown): void {
    this.#lease.abort(reason);
  }

  async #serve(ended: Promise<void>): Promise<void> {
    const lease = this.#lease;
    // In the same step as the call: what came in between ends the term before it began.
    if (this.#stopping.aborted || !lease.isTrusted()) {
      await lease.end({ result: 'abandoned' });
      return;
    }
    this.#begun = true;
    const term = createTerm(lease);
    const elected = (async () => this.#handlers.onElected(term))().catch((error: unknown) => this.#failed(error));
    await ended;
    await elected;
    await this.#deposed;
    const failure = this.#failure;
    await lease.end(failure === undefined ? { result: 'done' } : { result: 'failed', error: messageOf(failure.error) });
  }

  #depose(): void {
    // A term that did not begin needs no end.
    if (!this.#begun) return;
    const { name, signal } = this.#lease;
    this.#deposed = callQuietly(`onDeposed of ${quote(name)}`, () => this.#handlers.onDeposed?.(signal.reason));
  }

  #failed(error: unknown): void {
    // A handler that was asked to stop may well reject.
    if (this.#lease.signal.aborted) return;
    this.#failure = { error };
    this.end(error);
  }
}

function createTerm(lease: HeldLease): Term {
  const { name, signal, fence, grant } = lease;
  return {
    name,
    signal,
    fence,
    remainingMs: () => lease.remainingMs(),
    checkpoint: () => lease.checkpoint(),
    confirm: () => lease.confirm(),
    grant,
  };
}
