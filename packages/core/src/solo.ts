import type { Election, ElectOptions } from './elect.ts';
import type { SoloEventName, SoloEvents } from './events.ts';
import type { Explanation } from './explain.ts';
import type { Finding } from './finding.ts';
import type { Lease } from './lease.ts';
import type { LeaseOptions, OccurrenceOptions, OutageOptions, RunOptions } from './options.ts';
import type { JobRecord, NamedPause, OccurrenceState, Pause, Refusal, RunRecord } from './provider.ts';
import type { Handler, RunContext, RunResult } from './run.ts';

export interface AcquireOptions extends LeaseOptions, OutageOptions {
  /**
   * How long to wait for the lock, in ms; `Infinity` is allowed, but must be written. The wait goes on while the provider is away.
   */
  readonly waitMs: number;
}

export interface ClaimOptions extends LeaseOptions, OccurrenceOptions {}

/** A lease, or why there is none. */
export type Claim = { readonly acquired: true; readonly lease: Lease } | Refusal;

export interface CloseOptions {
  /** How long handlers may take to settle after their signal aborted, in ms. @default 30_000 */
  readonly graceMs?: number;
  /** Leaves the provider open even if no other solo uses it. @default false: the last solo to close closes it */
  readonly keepProvider?: boolean;
}

export interface ReadyOptions {
  /** How long the checks may take, in ms. @default 4_000 */
  readonly timeoutMs?: number | undefined;
}

export interface ForceReleaseOptions {
  /** The fence under which the lock is held, as `inspect()` shows it. Only that acquisition is released. */
  readonly fence: bigint;
}

export interface PauseOptions {
  /** How long the pause lasts, in ms, counted from now by the provider's clock; 30 days at most. @default an hour */
  readonly untilMs?: number | undefined;
  /** When it ends, instead of `untilMs`; within 30 days. */
  readonly until?: Date | undefined;
  /** Why, for people to read. Up to 500 characters. @default none */
  readonly note?: string | undefined;
  /** Who, for people to read. Up to 500 characters. @default the user and the host of this process */
  readonly by?: string | undefined;
}

export interface ListOptions {
  /** Only names that start with it. @default '', all of them */
  readonly prefix?: string | undefined;
}

export interface PruneOptions extends ListOptions {
  /** Records of names that were not touched for so long are removed, in ms; 0: of all that are free. */
  readonly olderThanMs: number;
  /** Removes nothing, and only counts. @default false */
  readonly dryRun?: boolean | undefined;
  /** Called with each name that is forgotten. @default none */
  readonly onName?: ((name: string) => void) | undefined;
}

export interface Solo extends AsyncDisposable {
  /**
   * Asks the provider whether locks can be kept there: the checks of `solorun doctor` that lock nothing. A program need not wait for it;
   * one that does tells at its start, in a sentence with the remedy, and not at 03:00.
   *
   * @throws NotReadyError if the provider cannot be reached in time, or is not safe to be used for locks; ClosedError, OptionError
   */
  ready(options?: ReadyOptions): Promise<readonly Finding[]>;
  /**
   * Runs the handler while the lock is held. Resolves to `{ status: 'ran', value, … }` or `{ status: 'skipped', reason, … }`.
   *
   * @throws the handler's own error; LeaseLostError if the handler finished but its lease was lost on the way; ProviderError if the
   * provider could not be asked (the handler did not run); LockBusyError and LockTimeoutError by policy; OptionError.
   */
  run<T>(name: string, handler: Handler<T>, options?: RunOptions): Promise<RunResult<T>>;
  /** The same, as a function to be called again and again; its arguments reach the handler after the context. */
  singleton<A extends unknown[], T>(
    name: string,
    handler: (context: RunContext, ...args: A) => T | Promise<T>,
    options?: RunOptions,
  ): (...args: A) => Promise<RunResult<T>>;
  /**
   * Throws if `run()` would reject this name or these options, and asks no provider: for adapters, which then find a mistake when a
   * job is set up and not at its first run. An occurrence given as a function is called once.
   *
   * @throws OptionError, UnsupportedError
   */
  checkOptions(name: string, options?: RunOptions): void;
  /** One try. Undefined when another holder has the lock. @throws ProviderError, OptionError, ClosedError */
  tryAcquire(name: string, options?: LeaseOptions): Promise<Lease | undefined>;
  /** Waits its turn. @throws LockTimeoutError, which names the holder; ProviderError, OptionError, ClosedError */
  acquire(name: string, options: AcquireOptions): Promise<Lease>;
  /**
   * One try that says why there is no lease, for an occurrence if one is given: for adapters, which start and end their runs
   * elsewhere. `close()` waits until the lease is released.
   */
  claim(name: string, options?: ClaimOptions): Promise<Claim>;
  /** Campaigns for the lock until stopped: leader election. */
  elect(name: string, options: ElectOptions): Election;
  /** The provider's record of one name; undefined if it was never acquired. */
  inspect(name: string): Promise<JobRecord | undefined>;
  /**
   * Releases the lock of a holder that will not, in whatever process that is. Resolves to true if that acquisition was released,
   * and to false if the name is not held, or is held under another fence. The run is recorded as failed; its process learns of the
   * loss at its next renewal, and its handler may still be at work until then.
   *
   * @throws ProviderError, OptionError
   * @example
   * const record = await solo.inspect('nightly-report');
   * if (record?.held) await solo.forceRelease('nightly-report', { fence: record.fence });
   */
  forceRelease(name: string, options: ForceReleaseOptions): Promise<boolean>;
  /** The records of this namespace. */
  list(options?: ListOptions): AsyncIterable<JobRecord>;
  /**
   * Pauses a name on the whole fleet: what is asked for after this has resolved is not run, but skipped as `paused`, until the pause
   * ends by the provider's clock. A run in progress goes on; waiters and standbys give up. A name that was never locked can be paused.
   *
   * @throws ProviderError, OptionError, UnsupportedError
   * @example
   * await solo.pause('nightly-report', { untilMs: 2 * 3_600_000, note: 'the disk is being replaced' });
   */
  pause(name: string, options?: PauseOptions): Promise<Pause>;
  /** Ends the pause of a name. False: it was not paused. @throws ProviderError, OptionError, UnsupportedError */
  resume(name: string): Promise<boolean>;
  /** The pauses in force in this namespace, also of names that were never locked. */
  pauses(options?: ListOptions): AsyncIterable<NamedPause>;
  /**
   * The last 50 runs of a name, the newest first: of those for a scheduled time, and of others that were started with `history: true`.
   *
   * @throws ProviderError, OptionError, UnsupportedError
   */
  runs(name: string): Promise<readonly RunRecord[]>;
  /**
   * A second chance: allows the last scheduled time of a name to be run once more, whatever became of it, and nothing else. It starts
   * no run; the next one that is asked for that time is its next attempt. Undefined: the name is held, or has no scheduled time.
   *
   * @throws ProviderError, OptionError, UnsupportedError
   */
  rerun(name: string): Promise<OccurrenceState | undefined>;
  /**
   * Removes the records of names that are free, not paused, and were not touched for so long. Later fences of such a name are greater
   * than those before; a scheduled time of it that is asked for again may run again. Resolves to how many were removed.
   *
   * @throws ProviderError, OptionError, UnsupportedError
   */
  prune(options: PruneOptions): Promise<number>;
  /** The guarantees with this provider and these options, and the conditions that would break them. */
  explain(options?: Pick<LeaseOptions, 'leaseMs'>): Explanation;
  /** Aborts when the solo closes: for all that should end with it. */
  readonly signal: AbortSignal;
  /** Returns what removes the listener. A listener that throws is reported as a process warning. */
  on<E extends SoloEventName>(event: E, listener: (detail: SoloEvents[E]) => void): () => void;
  /**
   * Claims nothing more, aborts the signals of all leases, waits for runs, elections and claims to end, releases what was acquired
   * by hand, and lets go of the provider unless other solos use it.
   * @throws CloseTimeoutError if something still runs after `graceMs`: its lease is kept. ProviderError if everything has ended,
   * and the provider has not answered all releases: such a name comes free when its lease ends.
   */
  close(options?: CloseOptions): Promise<void>;
}
