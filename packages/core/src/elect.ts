import { acquireWhenFree } from './acquire.ts';
import { backoffDelay, settleBackoff } from './backoff.ts';
import { delay, linkAbort } from './abort.ts';
import type { Core } from './core.ts';
import { messageOf, SolorunError, quote } from './errors.ts';
import { callQuietly } from './events.ts';
import type { HeldLease } from './held-lease.ts';
import { checkHandler, settleTerms, type LeaseOptions } from './options.ts';
import { isTransient } from './outage.ts';
import type { Grant } from './provider.ts';

/** What a leader is told about its term. */
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

export interface ElectOptions extends LeaseOptions {
  /**
   * Called at the start of a term. The term goes on after it returned: until it is lost, resigned or stopped. If it rejects, the
   * term ends, and after a pause this replica campaigns again.
   */
  readonly onElected: (term: Term) => unknown;
  /** Called at once when a term ends, with the reason. The lock is given back after both have settled. */
  readonly onDeposed?: ((reason: unknown) => unknown) | undefined;
}

export interface Election extends AsyncDisposable {
  /** Asks the clock: false from the moment the lease can no longer be trusted. */
  isLeader(): boolean;
  /**
   * Ends the current term, if any, and rests for a moment before campaigning again. Resolves when `onElected` and `onDeposed` have
   * settled, so neither of them can wait for it.
   */
  resign(): Promise<void>;
  /** Ends the term and the campaign. Resolves when `onElected` and `onDeposed` have settled and the lock is given back. */
  stop(): Promise<void>;
  /** Resolves when the campaign was stopped. Rejects if it cannot succeed: the provider refused the name or the options for good. */
  readonly finished: Promise<void>;
}

/** Between a term that failed or was resigned and the next campaign. */
const rest = settleBackoff({ minMs: 500, maxMs: 10_000, retries: Number.POSITIVE_INFINITY });

/** Campaigns for a lock until stopped: one leader at a time, over the whole fleet. Keeps the process alive. */
export function elect(core: Core, name: string, options: ElectOptions): Election {
  const terms = settleTerms(core.settings, name, options);
  checkHandler(name, options.onElected);
  const stopping = new AbortController();
  let current: { readonly lease: HeldLease; readonly end: (reason: unknown) => void; over: Promise<void> } | undefined;

  const unlink = [linkAbort(terms.signal, stopping), linkAbort(core.closing.signal, stopping)];
  const campaignTerms = { ...terms, signal: stopping.signal };
  // Leases and campaigns are kept by timers that let a process end; an election is meant to outlast its caller.
  const alive = setInterval(() => {}, 2 ** 31 - 1);
  const finished = campaign().finally(() => {
    clearInterval(alive);
    for (const end of unlink) end();
  });
  // Whoever does not ask how it ended is told by the `unconfirmed` event.
  finished.catch(() => {});

  async function campaign(): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted;) {
      let wellEnded: boolean;
      try {
        const attempt = await acquireWhenFree(core, campaignTerms, { outageMs: Number.POSITIVE_INFINITY });
        wellEnded = attempt.acquired && (await serve(attempt.lease));
      } catch (error) {
        if (stopping.signal.aborted) return;
        core.events.emit('unconfirmed', { name, provider: core.settings.provider.kind, operation: 'acquire', error });
        // What will never succeed is not tried for ever.
        if (!isTransient(error)) throw error;
        wellEnded = false;
      }
      failures = wellEnded ? 0 : failures + 1;
      if (!stopping.signal.aborted) await delay(backoffDelay(rest, Math.max(1, failures)), stopping.signal);
    }
  }

  /** One term. False: it ended because `onElected` failed. */
  async function serve(lease: HeldLease): Promise<boolean> {
    if (stopping.signal.aborted || !lease.isTrusted()) {
      await lease.end({ result: 'abandoned' });
      return true;
    }
    let failure: { readonly error: unknown } | undefined;
    let deposed: Promise<unknown> | undefined;
    let begun = false;
    const ended = new Promise<void>((resolve) => {
      const onEnd = (): void => {
        // A term that nobody was told of needs no end.
        if (begun) deposed = callQuietly(`onDeposed of ${quote(name)}`, () => options.onDeposed?.(lease.signal.reason));
        resolve();
      };
      if (lease.signal.aborted) onEnd();
      else lease.signal.addEventListener('abort', onEnd, { once: true });
    });
    const end = (reason: unknown): void => lease.abort(reason);
    const stop = (): void => end(stopping.signal.reason);
    if (stopping.signal.aborted) stop();
    else stopping.signal.addEventListener('abort', stop, { once: true });

    // In a turn of its own, for the leader may ask whether it is one as soon as it is told.
    const over = Promise.resolve().then(async () => {
      // In the same step as the call: what came in between ends the term before it began.
      if (stopping.signal.aborted || !lease.isTrusted()) {
        await lease.end({ result: 'abandoned' });
        return;
      }
      begun = true;
      const { name: lock, signal, fence } = lease;
      const term: Term = {
        name: lock,
        signal,
        fence,
        remainingMs: () => lease.remainingMs(),
        checkpoint: () => lease.checkpoint(),
        confirm: () => lease.confirm(),
        grant: lease.grant,
      };
      const elected = (async () => options.onElected(term))().catch((error: unknown) => {
        // A handler that was told to stop may well reject.
        if (lease.signal.aborted) return;
        failure = { error };
        end(error);
      });
      await ended;
      await elected;
      await deposed;
      await lease.end(failure === undefined ? { result: 'done' } : { result: 'failed', error: messageOf(failure.error) });
    });
    current = { lease, end, over };
    await over;
    current = undefined;
    stopping.signal.removeEventListener('abort', stop);
    if (failure === undefined) return true;
    core.events.emit('failed', {
      name,
      provider: core.settings.provider.kind,
      fence: lease.fence,
      occurrence: undefined,
      error: failure.error,
    });
    return false;
  }

  const stop = async (): Promise<void> => {
    stopping.abort(new SolorunError('SOLORUN_STOPPED', `The election ${quote(name)} was stopped.`));
    await Promise.allSettled([finished]);
  };
  return {
    finished,
    isLeader: () => current !== undefined && !current.lease.signal.aborted,
    async resign() {
      const term = current;
      term?.end(new SolorunError('SOLORUN_RESIGNED', `The leader of ${quote(name)} resigned.`));
      await term?.over;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
