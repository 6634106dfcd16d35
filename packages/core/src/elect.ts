import { acquireWhenFree } from './acquire.ts';
import { backoffDelay, settleBackoff } from './backoff.ts';
import { bindVerbs } from './bind-verbs.ts';
import { delay, linkAbort } from './abort.ts';
import { checkHandler } from './checks.ts';
import type { Core } from './core.ts';
import { SolorunError, quote } from './errors.ts';
import type { HeldLease } from './held-lease.ts';
import { ofElect } from './known-options.ts';
import { Leadership, type TermHandlers } from './leadership.ts';
import type { LeaseOptions } from './options.ts';
import { settleTerms, type Terms } from './settle.ts';
import { isTransient } from './outage.ts';

export interface ElectOptions extends LeaseOptions, TermHandlers {}

export interface Election extends AsyncDisposable {
  /** Asks the clock: false from the moment the lease can no longer be trusted. */
  isLeader(): boolean;
  /**
   * Ends the current term, if any, and rests for a moment before campaigning again. Resolves when `onElected` and `onDeposed` have
   * settled, so neither of them can wait for it.
   */
  resign(): Promise<void>;
  /** Ends the term and the campaign. Resolves when `onElected` and `onDeposed` have settled and the lock is released. */
  stop(): Promise<void>;
  /** Resolves when the campaign was stopped. Rejects if it can never succeed: the provider refused the name or the options. */
  readonly finished: Promise<void>;
}

/** Between a term that failed or was resigned and the next campaign. */
const rest = settleBackoff({ minMs: 500, maxMs: 10_000, retries: Number.POSITIVE_INFINITY });

/** Campaigns for a lock until stopped: one leader at a time, over the whole fleet. Keeps the process alive. */
export function elect(core: Core, name: string, options: ElectOptions): Election {
  const terms = settleTerms(core.settings, name, options, ofElect);
  checkHandler(name, options.onElected);
  return bindVerbs(new Campaign(core, terms, options));
}

class Campaign implements Election {
  readonly finished: Promise<void>;
  readonly #core: Core;
  readonly #terms: Terms;
  readonly #handlers: TermHandlers;
  /** Aborts when the election is stopped, the caller gives up or the solo closes. */
  readonly #stopping = new AbortController();
  /** Of this replica, now. */
  #leadership: Leadership | undefined;

  constructor(core: Core, terms: Terms, handlers: TermHandlers) {
    this.#core = core;
    this.#terms = { ...terms, signal: this.#stopping.signal };
    this.#handlers = handlers;
    const unlinks = [linkAbort(terms.signal, this.#stopping), linkAbort(core.closing.signal, this.#stopping)];
    // Leases and campaigns are kept by timers that let a process end; an election is meant to outlast its caller.
    const alive = setInterval(() => {}, 2 ** 31 - 1);
    this.finished = this.#campaign().finally(() => {
      clearInterval(alive);
      for (const unlink of unlinks) unlink();
    });
    // A caller need not read it: the `unconfirmed` event reports how the campaign ended, too.
    this.finished.catch(() => {});
  }

  isLeader(): boolean {
    return this.#leadership?.lasts ?? false;
  }

  async resign(): Promise<void> {
    const leadership = this.#leadership;
    leadership?.end(new SolorunError('SOLORUN_RESIGNED', `The leader of ${quote(this.#terms.name)} resigned.`));
    await leadership?.over;
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new SolorunError('SOLORUN_STOPPED', `The election ${quote(this.#terms.name)} was stopped.`));
    await Promise.allSettled([this.finished]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #campaign(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted;) {
      const wellEnded = await this.#acquireAndServe();
      failures = wellEnded ? 0 : failures + 1;
      if (!signal.aborted) await delay(backoffDelay(rest, Math.max(1, failures)), signal);
    }
  }

  /** False: the lock could not be acquired, or `onElected` failed. @throws an error that cannot pass */
  async #acquireAndServe(): Promise<boolean> {
    try {
      const attempt = await acquireWhenFree(this.#core, this.#terms, { outageMs: Number.POSITIVE_INFINITY });
      return attempt.acquired && (await this.#serve(attempt.lease));
    } catch (error) {
      if (this.#stopping.signal.aborted) return false;
      const { name } = this.#terms;
      this.#core.events.emit('unconfirmed', { name, provider: this.#core.settings.provider.kind, operation: 'acquire', error });
      // A campaign that can never succeed does not go on for ever.
      if (!isTransient(error)) throw error;
      return false;
    }
  }

  /** One term. False: it ended because `onElected` failed. */
  async #serve(lease: HeldLease): Promise<boolean> {
    if (this.#stopping.signal.aborted || !lease.isTrusted()) {
      await lease.end({ result: 'abandoned' });
      return true;
    }
    const leadership = new Leadership(lease, this.#handlers, this.#stopping.signal);
    this.#leadership = leadership;
    await leadership.over;
    this.#leadership = undefined;
    if (leadership.failure === undefined) return true;
    const { name, fence } = lease;
    const { error } = leadership.failure;
    this.#core.events.emit('failed', { name, provider: this.#core.settings.provider.kind, fence, occurrence: undefined, error });
    return false;
  }
}
