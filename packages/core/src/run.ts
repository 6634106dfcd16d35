import { acquireBy, tellSkipped } from './acquire.ts';
import { onceAborted } from './bounded.ts';
import { type Attempt, type Core } from './core.ts';
import { ClosedError, messageOf, RunTimeoutError, quote, LeaseLostError } from './errors.ts';
import { callQuietly, type SkipReason } from './events.ts';
import type { HeldLease, Occurrence } from './lease.ts';
import { checkHandler, settlePolicy, settleTerms, settleWatch, type RunOptions, type SettledWatch, type Terms } from './options.ts';
import type { Grant, Holder, Refusal } from './provider.ts';

/** What a handler is told about its run. */
export interface RunContext {
  readonly name: string;
  /**
   * Aborts when the lease can no longer be trusted (`LeaseLostError`), when `maxRunMs` is over (`RunTimeoutError`), when the solo
   * closes (`ClosedError`) or when the caller's own signal does. A handler that stops early because of it should reject.
   */
  readonly signal: AbortSignal;
  /** The fencing token. */
  readonly fence: bigint;
  readonly occurrence: Occurrence | undefined;
  /** 1, 2, … of the occurrence; 1 without one. */
  readonly attempt: number;
  /** True when an earlier attempt of this occurrence crashed or failed. */
  readonly recovering: boolean;
  /** As `Lease.remainingMs`. */
  readonly remainingMs: () => number;
  /** As `Lease.checkpoint`: call it before each step that must not happen twice. */
  readonly checkpoint: () => void;
  /** As `Lease.grant`. */
  readonly grant: Grant;
}

export type Handler<T> = (context: RunContext) => T | Promise<T>;

export type RunResult<T> = Ran<T> | Skipped;

export interface Ran<T> {
  readonly status: 'ran';
  /** What the handler returned. */
  readonly value: T;
  readonly fence: bigint;
  readonly occurrence: Occurrence | undefined;
  readonly attempt: number;
  readonly durationMs: number;
  /**
   * False: the provider could not be told that the run is over. The name comes free when the lease expires, and an occurrence with
   * attempts left may be run again.
   */
  readonly released: boolean;
}

export interface Skipped {
  readonly status: 'skipped';
  readonly reason: SkipReason;
  /** Who held the name, for `held`. */
  readonly holder?: Holder | undefined;
  /** When the lease in the way ends unless it is renewed, or the occurrence is due; by this machine's clock. */
  readonly retryAt?: Date | undefined;
}

/** Runs the handler while its lock is held, or says why not. */
export async function run<T>(core: Core, name: string, handler: Handler<T>, options: RunOptions = {}): Promise<RunResult<T>> {
  const terms = settleTerms(core.settings, name, options);
  checkHandler(name, handler);
  const policy = settlePolicy(name, options);
  const watch = settleWatch(options);
  let attempt: Attempt;
  try {
    core.closing.signal.throwIfAborted();
    attempt = await acquireBy(core, terms, policy);
    if (attempt.acquired) await startOrAbandon(core, terms, attempt.lease);
  } catch (error) {
    // A tick that fires while the program shuts down is no error of its job's.
    if (error instanceof ClosedError && error === core.closing.signal.reason) {
      return skip(core, terms, { reason: 'closed' });
    }
    throw error;
  }
  return attempt.acquired ? underLease(core, terms, attempt.lease, handler, watch) : skip(core, terms, attempt);
}

/** What came between the grant and now ends the run before its handler starts, and so undoes its claim. */
async function startOrAbandon(core: Core, terms: Terms, lease: HeldLease): Promise<void> {
  const outside = [core.closing.signal, terms.signal].find((signal) => signal?.aborted === true);
  if (outside === undefined && lease.isTrusted()) return;
  await lease.end({ result: 'abandoned' });
  throw (outside?.reason ?? lease.lost) as Error;
}

async function underLease<T>(
  core: Core,
  terms: Terms,
  lease: HeldLease,
  handler: Handler<T>,
  watch: SettledWatch,
): Promise<Ran<T>> {
  const { name, signal, fence, occurrence } = lease;
  const startedAt = performance.now();
  const unwatch = watchRun(core, terms, lease, watch, startedAt);
  let value: T;
  try {
    value = await handler({
      name,
      signal,
      fence,
      occurrence,
      attempt: lease.grant.attempt,
      recovering: occurrence?.recovering ?? false,
      remainingMs: () => lease.remainingMs(),
      checkpoint: () => lease.checkpoint(),
      grant: lease.grant,
    });
  } catch (error) {
    unwatch();
    await lease.end({ result: 'failed', error: messageOf(error) });
    core.events.emit('failed', { name, provider: core.settings.provider.kind, fence, occurrence, error });
    throw error;
  }
  unwatch();
  const trusted = lease.isTrusted();
  const answer = await lease.end(trusted ? { result: 'done' } : { result: 'failed', error: lease.lost?.message ?? 'lost' });
  if (!trusted || answer === 'taken') {
    const { reason } = lease.lost ?? { reason: 'taken' as const };
    const error = new LeaseLostError(name, fence, reason, { cause: lease.lost, result: value });
    core.events.emit('failed', { name, provider: core.settings.provider.kind, fence, occurrence, error });
    throw error;
  }
  const durationMs = performance.now() - startedAt;
  return { status: 'ran', value, fence, occurrence, attempt: lease.grant.attempt, durationMs, released: answer === 'released' };
}

/** Asks the handler to stop when it should, and tells of one that does not. Returns what ends the watch. */
function watchRun(core: Core, terms: Terms, lease: HeldLease, watch: SettledWatch, startedAt: number): () => void {
  const { maxRunMs, graceMs, onStuck } = watch;
  const timers: NodeJS.Timeout[] = [];

  const onAsked = (): void => {
    timers.push(
      setTimeout(() => {
        const runningMs = performance.now() - startedAt;
        core.events.emit('stuck', { name: lease.name, provider: core.settings.provider.kind, fence: lease.fence, runningMs });
        void callQuietly(`onStuck of ${quote(lease.name)}`, () => onStuck?.({ name: lease.name, runningMs }));
      }, graceMs),
    );
  };
  const unlink = [
    onceAborted(lease.signal, onAsked),
    ...[terms.signal, core.closing.signal].map((source) => onceAborted(source, () => lease.abort(source?.reason))),
  ];
  if (maxRunMs !== undefined) {
    timers.push(setTimeout(() => lease.abort(new RunTimeoutError(lease.name, maxRunMs)), maxRunMs));
  }

  return () => {
    for (const timer of timers) clearTimeout(timer);
    for (const end of unlink) end();
  };
}

function skip(core: Core, terms: Terms, refusal: Refusal | { readonly reason: 'closed' }): Skipped {
  tellSkipped(core, terms, refusal);
  const holder = refusal.reason === 'held' ? refusal.holder : undefined;
  return { status: 'skipped', reason: refusal.reason, holder, retryAt: retryAt(refusal) };
}

function retryAt(refusal: Refusal | { readonly reason: 'closed' }): Date | undefined {
  if (refusal.reason === 'early') return new Date(Date.now() + refusal.earlyMs);
  if (refusal.reason !== 'held' || refusal.expiresInMs === undefined) return undefined;
  return new Date(Date.now() + Math.max(0, refusal.expiresInMs));
}
