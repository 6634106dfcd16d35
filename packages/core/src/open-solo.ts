import { acquireWhenFree, tryOnce } from './acquire.ts';
import { Activity } from './activity.ts';
import type { Attempt } from './attempts.ts';
import { bindVerbs } from './bind-verbs.ts';
import { checkHandler, checkLease, checkMs, checkObject, checkWait } from './checks.ts';
import { checkReleased, leave, releaseAll, share, stopAll } from './closing.ts';
import { Core } from './core.ts';
import { elect, type ElectOptions, type Election } from './elect.ts';
import { ClosedError, LockPausedError, ProviderError, quote } from './errors.ts';
import type { SoloEventName, SoloEvents } from './events.ts';
import { explain, type Explanation } from './explain.ts';
import type { Finding } from './finding.ts';
import {
  checkKnown,
  ofAcquire,
  ofClaim,
  ofClose,
  ofExplain,
  ofForceRelease,
  ofList,
  ofPause,
  ofPauses,
  ofPrune,
  ofReady,
  ofRun,
  ofTryAcquire,
} from './known-options.ts';
import type { Lease } from './lease.ts';
import { LeaseHandle } from './lease-handle.ts';
import { logByEnvironment } from './log-environment.ts';
import type { LeaseOptions, RunOptions, SoloOptions } from './options.ts';
import type { JobRecord, NamedPause, OccurrenceState, Pause, RunRecord } from './provider.ts';
import { ready } from './ready.ts';
import { tellSkipped } from './reports.ts';
import { run, type Handler, type RunContext, type RunResult } from './run.ts';
import { settleOutage, settlePolicy, settleSolo, settleTerms, settleWatch, type SoloSettings } from './settle.ts';
import type {
  AcquireOptions,
  Claim,
  ClaimOptions,
  CloseOptions,
  ForceReleaseOptions,
  ListOptions,
  PauseOptions,
  PruneOptions,
  ReadyOptions,
  Solo,
} from './solo.ts';

/**
 * The door to everything: locks, runs and elections on one provider.
 *
 * @throws OptionError, UnsupportedError
 * @example
 * const solo = createSolo({ provider: lockfile({ directory: '/var/lib/app/locks' }) });
 * await solo.run('nightly-backup', async ({ signal }) => backup(signal));
 */
export function createSolo(options: SoloOptions): Solo {
  const solo = bindVerbs(new OpenSolo(settleSolo(options)));
  logByEnvironment(solo);
  return solo;
}

class OpenSolo implements Solo {
  readonly signal: AbortSignal;
  readonly #settings: SoloSettings;
  readonly #core: Core;
  readonly #activity = new Activity();
  #closed: Promise<void> | undefined;

  constructor(settings: SoloSettings) {
    this.#settings = settings;
    this.#core = new Core(settings);
    this.signal = this.#core.closing.signal;
    share(settings.provider);
  }

  async ready(options: ReadyOptions = {}): Promise<readonly Finding[]> {
    checkKnown(ofReady, options);
    return ready(this.#core, options);
  }

  run<T>(name: string, handler: Handler<T>, options?: RunOptions): Promise<RunResult<T>> {
    return this.#activity.track(name, () => run(this.#core, name, handler, options));
  }

  singleton<A extends unknown[], T>(
    name: string,
    handler: (context: RunContext, ...args: A) => T | Promise<T>,
    options: RunOptions = {},
  ): (...args: A) => Promise<RunResult<T>> {
    // Found wrong here, not at the first tick. An occurrence given as a function is called again at each run.
    this.checkOptions(name, options);
    checkHandler(name, handler);
    return (...args) => this.run(name, (context) => handler(context, ...args), options);
  }

  checkOptions(name: string, options: RunOptions = {}): void {
    settleTerms(this.#settings, name, options, ofRun);
    settlePolicy(name, options);
    settleWatch(options);
  }

  async tryAcquire(name: string, options: LeaseOptions = {}): Promise<Lease | undefined> {
    const terms = settleTerms(this.#settings, name, options, ofTryAcquire);
    this.#core.throwIfClosed();
    const attempt = await this.#unlessClosed(tryOnce(this.#core, terms));
    return attempt.acquired ? new LeaseHandle(attempt.lease) : undefined;
  }

  async acquire(name: string, options: AcquireOptions): Promise<Lease> {
    const terms = settleTerms(this.#settings, name, options, ofAcquire);
    const waitMs = checkWait(options.waitMs, name);
    const outageMs = settleOutage(name, options, 'retry', waitMs);
    this.#core.throwIfClosed();
    const attempt = await this.#unlessClosed(acquireWhenFree(this.#core, terms, { waitMs, outageMs }));
    if (attempt.acquired) return new LeaseHandle(attempt.lease);
    if (attempt.reason === 'paused') throw new LockPausedError(name, attempt);
    // Without an occurrence a wait ends only with a lease, an error or a pause.
    throw new ProviderError(this.#settings.provider.kind, `acquire ${quote(name)}`, `it answered "${attempt.reason}"`);
  }

  async claim(name: string, options: ClaimOptions = {}): Promise<Claim> {
    const terms = settleTerms(this.#settings, name, options, ofClaim);
    this.#core.throwIfClosed();
    const attempt = await this.#unlessClosed(tryOnce(this.#core, terms));
    if (!attempt.acquired) {
      tellSkipped(this.#core, terms, attempt);
      return attempt;
    }
    void this.#activity.track(name, () => attempt.lease.over());
    return { acquired: true, lease: new LeaseHandle(attempt.lease) };
  }

  elect(name: string, options: ElectOptions): Election {
    this.#core.throwIfClosed();
    const election = elect(this.#core, name, options);
    this.#activity.track(name, () => election.finished).catch(() => {});
    return election;
  }

  inspect(name: string): Promise<JobRecord | undefined> {
    return this.#core.records.inspect(name);
  }

  async forceRelease(name: string, options: ForceReleaseOptions): Promise<boolean> {
    checkKnown(ofForceRelease, options);
    return this.#core.records.forceRelease(name, options);
  }

  list(options?: ListOptions): AsyncGenerator<JobRecord, void, undefined> {
    checkKnown(ofList, options);
    return this.#core.records.list(options);
  }

  async pause(name: string, options?: PauseOptions): Promise<Pause> {
    checkKnown(ofPause, options);
    return this.#core.records.pause(name, options);
  }

  resume(name: string): Promise<boolean> {
    return this.#core.records.resume(name);
  }

  pauses(options?: ListOptions): AsyncGenerator<NamedPause, void, undefined> {
    checkKnown(ofPauses, options);
    return this.#core.records.pauses(options);
  }

  runs(name: string): Promise<readonly RunRecord[]> {
    return this.#core.records.runs(name);
  }

  rerun(name: string): Promise<OccurrenceState | undefined> {
    return this.#core.records.rerun(name);
  }

  async prune(options: PruneOptions): Promise<number> {
    checkObject('prune', options);
    checkKnown(ofPrune, options);
    return this.#core.records.prune(options, this.signal);
  }

  explain(options: Pick<LeaseOptions, 'leaseMs'> = {}): Explanation {
    checkKnown(ofExplain, options);
    const { leaseMs = this.#settings.leaseMs } = options;
    checkLease(this.#settings.provider, leaseMs);
    return explain(this.#settings, leaseMs);
  }

  on<E extends SoloEventName>(event: E, listener: (detail: SoloEvents[E]) => void): () => void {
    return this.#core.events.on(event, listener);
  }

  async close(options: CloseOptions = {}): Promise<void> {
    checkKnown(ofClose, options);
    if (options.graceMs !== undefined) checkMs('graceMs', options.graceMs, 0);
    this.#closed ??= this.#close(options);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close({});
    return this.#closed;
  }

  async #close({ graceMs = 30_000, keepProvider = false }: CloseOptions): Promise<void> {
    const { provider } = this.#settings;
    try {
      await stopAll(this.#core, this.#activity, graceMs);
    } catch (error) {
      // Not for ever: a later close() may find all of it ended.
      this.#closed = undefined;
      throw error;
    }
    await releaseAll(this.#core, this.#activity);
    await this.#core.hooks.close();
    if (leave(provider) && !keepProvider) await this.#core.records.ask('close', () => provider.close());
    checkReleased(this.#core);
  }

  /** An attempt that was answered after the solo began to close is undone. */
  async #unlessClosed(pending: Promise<Attempt>): Promise<Attempt> {
    const attempt = await pending;
    if (!attempt.acquired || !this.#core.closing.signal.aborted) return attempt;
    await attempt.lease.end({ result: 'abandoned' });
    throw new ClosedError();
  }
}
