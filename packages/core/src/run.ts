import { acquireBy } from './acquire.ts';
import { onceAborted } from './abort.ts';
import { checkHandler } from './checks.ts';
import type { Core } from './core.ts';
import { ClosedError, messageOf, RunTimeoutError, quote, LeaseLostError } from './errors.ts';
import { callQuietly, type SkipReason } from './events.ts';
import type { HeldLease } from './held-lease.ts';
import { ofRun } from './known-options.ts';
import type { Occurrence } from './lease.ts';
import type { RunOptions } from './options.ts';
import { settlePolicy, settleTerms, settleWatch, type SettledWatch, type Terms } from './settle.ts';
import type { Grant, Holder, Pause, Refusal } from './provider.ts';
import type { RunEndHook } from './run-hooks.ts';
import { pauseIn, tellSkipped } from './reports.ts';

/** Describes a run to its handler. */
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
  /** As `Lease.confirm`: asks the provider, for before a step that comes after long synchronous work. */
  readonly confirm: () => Promise<void>;
  /** As `Lease.grant`. */
  readonly grant: Grant;
}

export type Handler<T> = (context: RunContext) => T | Promise<T>;

export type RunResult<T> = Ran<T> | Skipped;

export interface Ran<T> {
  readonly status: 'ran';
  /** The value that the handler returned. */
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
  /** The holder of the name, for `held`. */
  readonly holder?: Holder | undefined;
  /** For `held`: nobody is seen to hold it, but the provider has just come back, and may have forgotten leases that are still trusted. */
  readonly settling?: boolean | undefined;
  /** For `held`: what is in the way where that is no holder, in words: a row that another transaction has locked. */
  readonly detail?: string | undefined;
  /** For `paused`: until when, by whom and why. */
  readonly paused?: Pause | undefined;
  /** When the pause or the lease in the way ends unless it is renewed or ended, or the occurrence is due; by this machine's clock. */
  readonly retryAt?: Date | undefined;
}

/** Runs the handler while its lock is held, or says why not. */
export async function run<T>(core: Core, name: string, handler: Handler<T>, options: RunOptions = {}): Promise<RunResult<T>> {
  const terms = settleTerms(core.settings, name, options, ofRun);
  checkHandler(name, handler);
  const policy = settlePolicy(name, options);
  const watch = settleWatch(options);
  let running: Running<T>;
  try {
    core.closing.signal.throwIfAborted();
    const attempt = await acquireBy(core, terms, policy);
    if (!attempt.acquired) return skip(core, terms, attempt);
    running = await startOrAbandon(core, terms, attempt.lease, handler, watch);
  } catch (error) {
    // A tick that fires while the program shuts down is no error of its job's.
    if (error instanceof ClosedError && error === core.closing.signal.reason) {
      return skip(core, terms, { reason: 'closed' });
    }
    throw error;
  }
  return finish(core, running);
}

class Context implements RunContext {
  readonly name: string;
  declare readonly signal: AbortSignal;
  readonly fence: bigint;
  readonly occurrence: Occurrence | undefined;
  readonly attempt: number;
  readonly recovering: boolean;
  readonly grant: Grant;
  readonly remainingMs: () => number;
  readonly checkpoint: () => void;
  readonly confirm: () => Promise<void>;
  readonly #lease: HeldLease;

  /** A property of the object itself, so that a copy (`{ ...context }`) has it too; made only when it is read. */
  static readonly #signal: PropertyDescriptor = {
    enumerable: true,
    get(this: Context) {
      return this.#lease.signal;
    },
  };

  constructor(lease: HeldLease) {
    const { grant, occurrence } = lease;
    this.name = lease.name;
    Object.defineProperty(this, 'signal', Context.#signal);
    this.fence = grant.fence;
    this.occurrence = occurrence;
    this.attempt = grant.attempt;
    this.recovering = occurrence?.recovering ?? false;
    this.grant = grant;
    this.remainingMs = () => lease.remainingMs();
    this.checkpoint = () => lease.checkpoint();
    this.confirm = () => lease.confirm();
    this.#lease = lease;
  }
}

/** A handler that has been called. */
interface Running<T> {
  readonly lease: HeldLease;
  readonly startedAt: number;
  /** In an object, for an `await` of the run must not wait for it. */
  readonly handled: Promise<T>;
  readonly unwatch: () => void;
  /** Tells the hooks how the run ended, if there are hooks. */
  readonly tellEnd: RunEndHook | undefined;
}

/**
 * Calls the handler, unless something came between the grant and now: that undoes the claim. The clock is looked at in the same
 * synchronous step, so nothing can come between the look and the first line of the handler but a pause of the whole process.
 */
async function startOrAbandon<T>(
  core: Core,
  terms: Terms,
  lease: HeldLease,
  handler: Handler<T>,
  watch: SettledWatch,
): Promise<Running<T>> {
  const startedAt = performance.now();
  const unwatch = watchRun(core, terms, lease, watch, startedAt);
  const context = new Context(lease);
  const outside = [core.closing.signal, terms.signal].find((signal) => signal?.aborted === true);
  if (outside === undefined && lease.isTrusted()) {
    const handled = (async () => handler(context))();
    // Only now: nothing of a hook's may come between the look at the clock and the handler.
    return { lease, startedAt, handled, unwatch, tellEnd: tellStart(core, context, watch, startedAt) };
  }
  unwatch();
  await lease.end({ result: 'abandoned' });
  throw (outside?.reason ?? lease.lost) as Error;
}

async function finish<T>(core: Core, { lease, startedAt, handled, unwatch, tellEnd }: Running<T>): Promise<Ran<T>> {
  let value: T;
  try {
    value = await handled;
  } catch (error) {
    unwatch();
    const answer = await lease.end({ result: 'failed', error: messageOf(error) });
    tellFailed(core, lease, error);
    const outcome = lease.lost === undefined && answer !== 'taken' ? 'failed' : 'lost';
    tellEnd?.({ outcome, error, durationMs: performance.now() - startedAt });
    throw error;
  }
  unwatch();
  const trusted = lease.isTrusted();
  const answer = await lease.end(trusted ? { result: 'done' } : { result: 'failed', error: lease.lost?.message ?? 'lost' });
  const durationMs = performance.now() - startedAt;
  if (!trusted || answer === 'taken') {
    const error = lostUnder(core, lease, value);
    tellEnd?.({ outcome: 'lost', error, durationMs });
    throw error;
  }
  tellEnd?.({ outcome: 'done', error: undefined, durationMs });
  const { fence, occurrence, grant } = lease;
  return { status: 'ran', value, fence, occurrence, attempt: grant.attempt, durationMs, released: answer === 'released' };
}

/** A run whose lease was lost is never reported as a clean success, whatever its handler returned. */
function lostUnder(core: Core, lease: HeldLease, result: unknown): LeaseLostError {
  const { name, fence, lost } = lease;
  const error = new LeaseLostError(name, fence, lost?.reason ?? 'taken', { cause: lost, result });
  tellFailed(core, lease, error);
  return error;
}

function tellFailed(core: Core, { name, fence, occurrence }: HeldLease, error: unknown): void {
  core.events.emit('failed', { name, provider: core.settings.provider.kind, fence, occurrence, error });
}

function tellStart(core: Core, context: Context, watch: SettledWatch, startedAt: number): RunEndHook | undefined {
  const ofSolo = core.settings.hooks;
  if (ofSolo.length === 0 && watch.hooks.length === 0) return undefined;
  const { name, fence, occurrence, attempt, recovering } = context;
  const since = new Date(Date.now() - (performance.now() - startedAt));
  return core.hooks.begin([...ofSolo, ...watch.hooks], { name, fence, occurrence, attempt, recovering, startedAt: since });
}

/** Asks the handler to stop when it should, and tells of one that does not. Returns what ends the watch. */
function watchRun(core: Core, terms: Terms, lease: HeldLease, watch: SettledWatch, startedAt: number): () => void {
  const { maxRunMs, graceMs, onStuck } = watch;
  let timers: NodeJS.Timeout[] | undefined;
  const after = (ms: number, then: () => void): void => void (timers ??= []).push(setTimeout(then, ms));

  lease.onStopped(() =>
    after(graceMs, () => {
      const runningMs = performance.now() - startedAt;
      core.events.emit('stuck', { name: lease.name, provider: core.settings.provider.kind, fence: lease.fence, runningMs });
      void callQuietly(`onStuck of ${quote(lease.name)}`, () => onStuck?.({ name: lease.name, runningMs }));
    }),
  );
  // When the solo closes, it asks all leases itself.
  const unlink = onceAborted(terms.signal, () => lease.abort(terms.signal?.reason));
  if (maxRunMs !== undefined) after(maxRunMs, () => lease.abort(new RunTimeoutError(lease.name, maxRunMs)));

  return () => {
    lease.onStopped(undefined);
    unlink();
    for (const timer of timers ?? []) clearTimeout(timer);
  };
}

function skip(core: Core, terms: Terms, refusal: Refusal | { readonly reason: 'closed' }): Skipped {
  tellSkipped(core, terms, refusal);
  const { holder, settling, detail } = refusal.reason === 'held' ? refusal : {};
  const paused = pauseIn(refusal);
  return { status: 'skipped', reason: refusal.reason, holder, settling, detail, paused, retryAt: retryAt(refusal) };
}

function retryAt(refusal: Refusal | { readonly reason: 'closed' }): Date | undefined {
  if (refusal.reason === 'early') return new Date(Date.now() + refusal.earlyMs);
  if (refusal.reason === 'paused') return refusal.until;
  if (refusal.reason !== 'held' || refusal.expiresInMs === undefined) return undefined;
  return new Date(Date.now() + Math.max(0, refusal.expiresInMs));
}
