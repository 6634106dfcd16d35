import { delay } from './abort.ts';
import type { Calls } from './calls.ts';
import { asProviderError, messageOf, quote, redact, type LeaseLostError } from './errors.ts';
import type { Events } from './events.ts';
import { createHeartbeat, type Heartbeat } from './heartbeat.ts';
import type { HeldLease, LeaseKeeper, ReleaseAnswer } from './held-lease.ts';
import { callTimeout, type SoloSettings, type Terms } from './settle.ts';
import type { Grant, Outcome } from './provider.ts';
import type { Queue } from './queue.ts';

/** Tries of a release after the first one, while the lease is still ours. */
const RELEASE_RETRIES = 5;
const RELEASE_RETRY_MS = 100;

/** Keeps the leases of one solo: has them renewed, and reports to the provider how each of them ended. */
export class Keeper implements LeaseKeeper {
  /** Held now. */
  readonly leases: Set<HeldLease> = new Set();
  /** Of those, the ones whose handlers are done, and whose release the provider has not answered yet. */
  readonly releasing: Set<HeldLease> = new Set();
  readonly #settings: SoloSettings;
  readonly #events: Events;
  readonly #queue: Queue;
  readonly #calls: Calls;
  readonly #onReleased: () => void;
  readonly #heartbeat: Heartbeat;

  /** @param onReleased called after each release that was confirmed */
  constructor(settings: SoloSettings, events: Events, queue: Queue, calls: Calls, onReleased: () => void) {
    this.#settings = settings;
    this.#events = events;
    this.#queue = queue;
    this.#calls = calls;
    this.#onReleased = onReleased;
    const { provider, clock } = settings;
    this.#heartbeat = createHeartbeat(provider, calls, clock, ({ name }, error) => this.#unconfirmed(name, 'renew', error));
  }

  /** Has the lease renewed until it ends. */
  keep(lease: HeldLease): void {
    this.leases.add(lease);
    this.#heartbeat.add(lease);
  }

  lost(lease: HeldLease, error: LeaseLostError): void {
    this.#heartbeat.remove(lease);
    // A grant that is lost before its caller has it is reported as an answer that came too late.
    if (!this.leases.delete(lease)) return;
    const { name, fence } = lease;
    this.#events.emit('lost', { name, provider: this.#settings.provider.kind, fence, error });
  }

  async confirm(lease: HeldLease): Promise<void> {
    try {
      await this.#heartbeat.confirm(lease);
    } catch (error) {
      throw asProviderError(this.#settings.provider, error, `confirm ${quote(lease.name)}`);
    }
  }

  async release(lease: HeldLease, outcome: Outcome): Promise<ReleaseAnswer> {
    this.#heartbeat.remove(lease);
    this.releasing.add(lease);
    const answer = await this.giveBack(lease, outcome);
    this.releasing.delete(lease);
    this.leases.delete(lease);
    this.#queue.freed(lease.grant.name);
    if (answer === 'released') {
      const { name, fence } = lease;
      const { provider, clock } = this.#settings;
      const heldMs = clock.now() - lease.acquiredAt;
      this.#events.emit('released', { name, provider: provider.kind, fence, outcome: outcome.result, heldMs });
      this.#onReleased();
    }
    return answer;
  }

  /**
   * Reports the outcome to the provider, again and again while the lease is still ours: an outcome that is not recorded may be run
   * again.
   */
  async giveBack(lease: HeldLease, outcome: Outcome, retry = 0): Promise<ReleaseAnswer> {
    const known = lease.lost?.reason;
    // The claim of a run that never started is undone even if the session that carried it has ended.
    if (retry === 0 && (known === 'taken' || (known === 'session' && outcome.result !== 'abandoned'))) return 'taken';
    const { provider, clock } = this.#settings;
    try {
      const ours = await this.#calls.bounded((signal) => provider.release(lease.grant, keptOutcome(outcome), signal), {
        timeoutMs: callTimeout(this.#settings, lease.leaseMs),
        timeoutError: () => new Error('no answer in time'),
      });
      if (ours) return lease.lost === undefined ? 'released' : 'unknown';
      // After an unknown first try, "not yours" may be the echo of its success.
      return retry === 0 ? 'taken' : 'unknown';
    } catch (error) {
      this.#unconfirmed(lease.name, 'release', asProviderError(provider, error, `release ${quote(lease.name)}`));
    }
    const over = lease.lost !== undefined || clock.now() + RELEASE_RETRY_MS >= lease.trustedUntil;
    if (over || retry >= RELEASE_RETRIES) return 'unknown';
    await delay(RELEASE_RETRY_MS);
    return this.giveBack(lease, outcome, retry + 1);
  }

  /** Undoes a grant that came after its caller had stopped waiting. Never rejects: nothing is left to catch it. */
  async abandon(terms: Terms, grant: Grant): Promise<void> {
    const { provider } = this.#settings;
    try {
      await this.#calls.bounded((signal) => provider.release(grant, { result: 'abandoned' }, signal), {
        timeoutMs: terms.callTimeoutMs,
        timeoutError: () => new Error('no answer in time'),
      });
    } catch (error) {
      this.#unconfirmed(terms.name, 'release', asProviderError(provider, error, `release ${quote(terms.name)}`));
    }
  }

  #unconfirmed(name: string, operation: 'renew' | 'release', error: unknown): void {
    this.#events.emit('unconfirmed', { name, provider: this.#settings.provider.kind, operation, error });
  }
}

/** Longest error message that goes into a record, in characters. */
const MAX_ERROR_LENGTH = 500;

/** An outcome as it may be kept where others read it: short, and without credentials. */
function keptOutcome(outcome: Outcome): Outcome {
  if (outcome.result !== 'failed') return outcome;
  // The cut may go through a character of two units, and half of one has no UTF-8 form.
  return { result: 'failed', error: redact(messageOf(outcome.error)).slice(0, MAX_ERROR_LENGTH).toWellFormed() };
}
