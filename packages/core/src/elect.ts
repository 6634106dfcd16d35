import { acquireWhenFree } from './acquire.ts';
import { backoffDelay, settleBackoff } from './backoff.ts';
import { delay } from './bounded.ts';
import type { Core } from './core.ts';
import { SolorunError } from './errors.ts';
import type { HeldLease } from './lease.ts';
import { settleTerms, type LeaseOptions } from './options.ts';

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
  /** Ends the current term, if any, and lets others have a turn before campaigning again. */
  resign(): Promise<void>;
  /** Ends the term and the campaign. Resolves when the lock is given back. */
  stop(): Promise<void>;
}

/** As the solo sees it, which waits for its end when it closes. */
export interface RunningElection extends Election {
  readonly finished: Promise<void>;
}

/** Between a term that failed or was resigned and the next campaign. */
const rest = settleBackoff({ minMs: 500, maxMs: 10_000, retries: Number.POSITIVE_INFINITY });

/** Campaigns for a lock until stopped: one leader at a time, over the whole fleet. Keeps the process alive. */
export function elect(core: Core, name: string, options: ElectOptions): RunningElection {
  const terms = settleTerms(core.settings, name, options);
  const stopping = new AbortController();
  let current: { readonly lease: HeldLease; readonly end: (reason: unknown) => void; over: Promise<void> } | undefined;

  const onOutside = (): void => stopping.abort(terms.signal?.aborted === true ? terms.signal.reason : core.closing.signal.reason);
  for (const source of [terms.signal, core.closing.signal]) {
    if (source?.aborted === true) onOutside();
    else source?.addEventListener('abort', onOutside, { once: true });
  }
  const campaignTerms = { ...terms, signal: stopping.signal };
  // Leases and campaigns are kept by timers that let a process end; an election is meant to outlast its caller.
  const alive = setInterval(() => {}, 2 ** 31 - 1);
  const finished = campaign().finally(() => {
    clearInterval(alive);
    terms.signal?.removeEventListener('abort', onOutside);
    core.closing.signal.removeEventListener('abort', onOutside);
  });

  async function campaign(): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted;) {
      let wellEnded: boolean;
      try {
        const attempt = await acquireWhenFree(core, campaignTerms, { patient: true });
        wellEnded = attempt.acquired && (await serve(attempt.lease));
      } catch (error) {
        if (stopping.signal.aborted) return;
        core.events.emit('unconfirmed', { name, provider: core.settings.provider.kind, operation: 'acquire', error });
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
    let failure: unknown;
    let deposed: Promise<unknown> | undefined;
    const ended = new Promise<void>((resolve) => {
      const onEnd = (): void => {
        deposed = settleQuietly(() => options.onDeposed?.(lease.signal.reason));
        resolve();
      };
      if (lease.signal.aborted) onEnd();
      else lease.signal.addEventListener('abort', onEnd, { once: true });
    });
    const end = (reason: unknown): void => lease.abort(reason);
    const stop = (): void => end(stopping.signal.reason);
    if (stopping.signal.aborted) stop();
    else stopping.signal.addEventListener('abort', stop, { once: true });

    const over = (async () => {
      const { name: lock, signal, fence } = lease;
      const term: Term = {
        name: lock,
        signal,
        fence,
        remainingMs: () => lease.remainingMs(),
        checkpoint: () => lease.checkpoint(),
      };
      const elected = (async () => options.onElected(term))().catch((error: unknown) => {
        // A handler that was told to stop may well reject.
        if (lease.signal.aborted) return;
        failure = error;
        end(error);
      });
      await ended;
      await elected;
      await deposed;
      await lease.end(
        failure === undefined
          ? { result: 'done' }
          : { result: 'failed', error: failure instanceof Error ? failure.message : 'failed' },
      );
    })();
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
      error: failure,
    });
    return false;
  }

  async function settleQuietly(call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      process.emitWarning(`onDeposed of the election ${JSON.stringify(name)} failed: ${String(error)}`, {
        code: 'SOLORUN_LISTENER',
      });
    }
  }

  const stop = async (): Promise<void> => {
    stopping.abort(new SolorunError('SOLORUN_STOPPED', `The election ${JSON.stringify(name)} was stopped.`));
    await finished;
  };
  return {
    finished,
    isLeader: () => current !== undefined && !current.lease.signal.aborted,
    async resign() {
      const term = current;
      term?.end(new SolorunError('SOLORUN_RESIGNED', `The leader of ${JSON.stringify(name)} resigned.`));
      await term?.over;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
