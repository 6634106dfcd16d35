import { createAskingController } from './asking-signal.ts';
import { quote } from './errors.ts';
import type { HeldLease, Lease, Occurrence } from './lease.ts';
import type { Grant, Outcome } from './provider.ts';

/**
 * A lease as its user holds it. Nothing of the core holds it in turn, so a lease that its user has lost sight of is garbage, and is
 * released then: renewed for ever, it would keep the name from everybody until the process ends.
 */
export class LeaseHandle implements Lease {
  readonly #held: HeldLease;
  #controller: AbortController | undefined;

  constructor(held: HeldLease) {
    this.#held = held;
    const handle = new WeakRef<LeaseHandle>(this);
    held.onStopped(() => {
      const alive = handle.deref();
      if (alive !== undefined) alive.#stop();
    });
    leaks.register(this, held);
  }

  get name(): string {
    return this.#held.name;
  }

  get fence(): bigint {
    return this.#held.fence;
  }

  get occurrence(): Occurrence | undefined {
    return this.#held.occurrence;
  }

  get grant(): Grant {
    return this.#held.grant;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      // It asks the handle and not the lease, so that a signal in use keeps its lease in use.
      this.#controller = createAskingController({ isTrusted: () => this.#held.isTrusted() });
      this.#stop();
    }
    return this.#controller.signal;
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

  /** Tells the signal why, if the lease was stopped and somebody has asked for the signal. */
  #stop(): void {
    const { stopped } = this.#held;
    if (stopped !== undefined) this.#controller?.abort(stopped.reason);
  }
}

const leaks = new FinalizationRegistry<HeldLease>((held) => {
  if (held.ended) return;
  process.emitWarning(
    `The lease of ${quote(held.name)} (fence ${held.fence}) was garbage-collected without having been released, and is released now. ` +
      'Keep what acquire() returns for as long as the lock is needed, then call its release().',
    { code: 'SOLORUN_LEAKED_LEASE' },
  );
  void held.release({ result: 'failed', error: 'the lease was garbage-collected without release()' });
});
