import { quote } from './errors.ts';
import type { HeldLease } from './held-lease.ts';
import type { Lease, Occurrence } from './lease.ts';
import type { Grant, Outcome } from './provider.ts';

/** Whether a user may have kept a part of a lease without the lease itself. */
interface Use {
  /** The signal, the fence or the grant were read: a listener, a combined signal or another system may still go by them. */
  shared: boolean;
}

/**
 * A lease as its user holds it. Nothing of the core refers to it, so a lease that its user has lost sight of becomes garbage, and
 * the registry below is called. Renewed for ever, it would keep the name from all other processes until this one ends. It is
 * released instead, unless its signal, its fence or its grant may still be in use: no garbage collector knows a listener of a
 * signal, or the system that was given a number.
 */
export class LeaseHandle implements Lease {
  readonly #held: HeldLease;
  readonly #use: Use = { shared: false };

  constructor(held: HeldLease) {
    this.#held = held;
    leaks.register(this, { held, use: this.#use });
  }

  get name(): string {
    return this.#held.name;
  }

  get fence(): bigint {
    this.#use.shared = true;
    return this.#held.fence;
  }

  get occurrence(): Occurrence | undefined {
    return this.#held.occurrence;
  }

  get grant(): Grant {
    this.#use.shared = true;
    return this.#held.grant;
  }

  get signal(): AbortSignal {
    this.#use.shared = true;
    return this.#held.signal;
  }

  remainingMs(): number {
    return this.#held.remainingMs();
  }

  checkpoint(): void {
    this.#held.checkpoint();
  }

  confirm(): Promise<void> {
    return this.#held.confirm();
  }

  release(outcome?: Outcome): Promise<boolean> {
    return this.#held.release(outcome);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The end of a block cannot tell success from failure, and an occurrence must not be marked done by an exception.
    await this.release(
      this.occurrence === undefined
        ? { result: 'done' }
        : { result: 'failed', error: 'the lease was disposed of without release()' },
    );
  }
}

const leaks = new FinalizationRegistry<{ readonly held: HeldLease; readonly use: Use }>(({ held, use }) => {
  if (held.ended) return;
  const lost = `The lease of ${quote(held.name)} (fence ${held.fence}) was garbage-collected without having been released`;
  const remedy = 'Keep what acquire() returns for as long as the lock is needed, then call its release().';
  const what = use.shared ? 'and is kept, for its signal or its fence may still be in use' : 'and is released now';
  process.emitWarning(`${lost}, ${what}. ${remedy}`, { code: 'SOLORUN_LEAKED_LEASE' });
  if (!use.shared) void held.release({ result: 'failed', error: 'the lease was garbage-collected without release()' });
});
