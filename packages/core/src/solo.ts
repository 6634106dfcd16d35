import { acquireWhenFree, tryOnce } from './acquire.ts';
import { delay } from './abort.ts';
import type { Attempt } from './attempts.ts';
import { Core } from './core.ts';
import { elect, type ElectOptions, type Election } from './elect.ts';
import { asProviderError, ClosedError, CloseTimeoutError, ProviderError, quote } from './errors.ts';
import { callQuietly, type SoloEventName, type SoloEvents } from './events.ts';
import { explain, type Explanation } from './explain.ts';
import type { Lease } from './lease.ts';
import { LeaseHandle } from './lease-handle.ts';
import {
  callTimeout,
  checkHandler,
  checkLease,
  checkMs,
  checkName,
  checkWait,
  fullName,
  settleOutage,
  settlePolicy,
  settleSolo,
  settleTerms,
  settleWatch,
  type LeaseOptions,
  type OccurrenceOptions,
  type OutageOptions,
  type RunOptions,
  type SoloOptions,
} from './options.ts';
import type { JobRecord, LockProvider, Refusal } from './provider.ts';
import { tellSkipped } from './reports.ts';
import { run, type Handler, type RunContext, type RunResult } from './run.ts';

export interface AcquireOptions extends LeaseOptions, OutageOptions {
  /** How long to wait for the lock, in ms; `Infinity` is allowed, but said. A provider that is away is waited for, too. */
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

export interface Solo extends AsyncDisposable {
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
  /** One try. Undefined when somebody else holds the lock. @throws ProviderError, OptionError, ClosedError */
  tryAcquire(name: string, options?: LeaseOptions): Promise<Lease | undefined>;
  /** Waits its turn. @throws LockTimeoutError, which names the holder; ProviderError, OptionError, ClosedError */
  acquire(name: string, options: AcquireOptions): Promise<Lease>;
  /**
   * One try that tells why not, with an occurrence if wanted: for adapters, which start and end their runs elsewhere. `close()`
   * waits until the lease is released.
   */
  claim(name: string, options?: ClaimOptions): Promise<Claim>;
  /** Campaigns for the lock until stopped: leader election. */
  elect(name: string, options: ElectOptions): Election;
  /** What the provider knows of one name. */
  inspect(name: string): Promise<JobRecord | undefined>;
  /** The records of this namespace. */
  list(): AsyncIterable<JobRecord>;
  /** What holds with this provider and these options, and what would break it. */
  explain(options?: Pick<LeaseOptions, 'leaseMs'>): Explanation;
  /** Aborts when the solo closes: for what should end with it. */
  readonly signal: AbortSignal;
  /** Returns what removes the listener. A listener that throws is reported as a process warning. */
  on<E extends SoloEventName>(event: E, listener: (detail: SoloEvents[E]) => void): () => void;
  /**
   * Claims nothing more, aborts the signals of all leases, waits for runs, elections and claims to end, releases what was acquired
   * by hand, and lets go of the provider unless other solos use it.
   * @throws CloseTimeoutError if something still runs after `graceMs`: its lease is kept. ProviderError if everything has ended, and
   * the provider could not be told of all of it: such a name comes free when its lease ends.
   */
  close(options?: CloseOptions): Promise<void>;
}

/** How many solos that are not closed share a provider in this process. */
const sharers = new WeakMap<LockProvider, number>();

/** True for the last one to leave: closing a provider under somebody else's lease would free it. */
function leave(provider: LockProvider): boolean {
  const left = (sharers.get(provider) ?? 1) - 1;
  sharers.set(provider, left);
  return left === 0;
}

/**
 * The door to everything: locks, runs and elections on one provider.
 *
 * @throws OptionError, UnsupportedError
 * @example
 * const solo = createSolo({ provider: lockfile({ directory: '/var/lib/app/locks' }) });
 * await solo.run('nightly-backup', async ({ signal }) => backup(signal));
 */
export function createSolo(options: SoloOptions): Solo {
  const settings = settleSolo(options);
  const core = new Core(settings);
  const { provider, namespace } = settings;
  sharers.set(provider, (sharers.get(provider) ?? 0) + 1);
  /** Runs, elections and claims, by name: what close() waits for. */
  const active = new Set<{ readonly name: string }>();
  let onIdle: (() => void) | undefined;
  let closed: Promise<void> | undefined;

  async function track<T>(name: string, begin: () => Promise<T>): Promise<T> {
    const entry = { name };
    active.add(entry);
    try {
      return await begin();
    } finally {
      active.delete(entry);
      if (active.size === 0) onIdle?.();
    }
  }

  function nothingActive(): Promise<void> {
    return new Promise((resolve) => {
      onIdle = resolve;
      if (active.size === 0) resolve();
    });
  }

  /** A name of ours as its user wrote it. */
  const unprefix = (record: JobRecord): JobRecord =>
    namespace === '' ? record : { ...record, name: record.name.slice(namespace.length + 1) };

  /** An attempt that was answered after the solo began to close is undone. */
  async function unlessClosed(pending: Promise<Attempt>): Promise<Attempt> {
    const attempt = await pending;
    if (!attempt.acquired || !core.closing.signal.aborted) return attempt;
    await attempt.lease.end({ result: 'abandoned' });
    throw new ClosedError();
  }

  async function asked<T>(operation: string, call: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const timeoutMs = callTimeout(settings, null);
    const timeoutError = (): Error => new ProviderError(provider.kind, operation, `no answer within ${timeoutMs} ms`);
    try {
      return await core.calls.bounded(call, { timeoutMs, timeoutError });
    } catch (error) {
      throw asProviderError(provider, error, operation);
    }
  }

  return {
    run: (name, handler, runOptions) => track(name, () => run(core, name, handler, runOptions)),

    singleton(name, handler, runOptions = {}) {
      // Found wrong here, not at the first tick. An occurrence given as a function is asked again at each call.
      settleTerms(settings, name, runOptions);
      checkHandler(name, handler);
      settlePolicy(name, runOptions);
      settleWatch(runOptions);
      return (...args) => track(name, () => run(core, name, (context) => handler(context, ...args), runOptions));
    },

    async tryAcquire(name, leaseOptions = {}) {
      const terms = settleTerms(settings, name, leaseOptions);
      core.throwIfClosed();
      const attempt = await unlessClosed(tryOnce(core, terms));
      return attempt.acquired ? new LeaseHandle(attempt.lease) : undefined;
    },

    async acquire(name, acquireOptions) {
      const terms = settleTerms(settings, name, acquireOptions);
      const waitMs = checkWait(acquireOptions.waitMs, name);
      const outageMs = settleOutage(name, acquireOptions, 'retry', waitMs);
      core.throwIfClosed();
      const attempt = await unlessClosed(acquireWhenFree(core, terms, { waitMs, outageMs }));
      // Without an occurrence a wait ends only with a lease or an error.
      if (!attempt.acquired) throw new ProviderError(provider.kind, `acquire ${quote(name)}`, `it answered "${attempt.reason}"`);
      return new LeaseHandle(attempt.lease);
    },

    async claim(name, claimOptions = {}) {
      const terms = settleTerms(settings, name, claimOptions);
      core.throwIfClosed();
      const attempt = await unlessClosed(tryOnce(core, terms));
      if (!attempt.acquired) {
        tellSkipped(core, terms, attempt);
        return attempt;
      }
      void track(name, () => attempt.lease.over());
      return { acquired: true, lease: new LeaseHandle(attempt.lease) };
    },

    elect(name, electOptions) {
      core.throwIfClosed();
      const election = elect(core, name, electOptions);
      track(name, () => election.finished).catch(() => {});
      return election;
    },

    async inspect(name) {
      checkName(name);
      const record = await asked(`inspect ${quote(name)}`, (signal) => provider.inspect(fullName(namespace, name), signal));
      return record === undefined ? undefined : unprefix(record);
    },

    async *list() {
      const ended = new AbortController();
      const records = provider.list(namespace === '' ? '' : `${namespace}/`, ended.signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await asked('list the locks', () => records.next());
          if (next.done === true) return;
          yield unprefix(next.value);
        }
      } finally {
        ended.abort();
        // Not waited for: it stands in line behind a next() that may hang.
        void callQuietly('The end of a list', () => records.return?.());
      }
    },

    explain({ leaseMs = settings.leaseMs } = {}) {
      checkLease(provider, leaseMs);
      return explain(settings, leaseMs);
    },

    signal: core.closing.signal,

    on: (event, listener) => core.events.on(event, listener),

    async close(closeOptions = {}) {
      if (closeOptions.graceMs !== undefined) checkMs('graceMs', closeOptions.graceMs, 0);
      closed ??= close(closeOptions);
      return closed;
    },

    [Symbol.asyncDispose]() {
      closed ??= close({});
      return closed;
    },
  };

  async function close({ graceMs = 30_000, keepProvider = false }: CloseOptions): Promise<void> {
    core.closing.abort(new ClosedError());
    for (const lease of core.keeper.leases) lease.abort(core.closing.signal.reason);
    const grace = new AbortController();
    const end = performance.now() + graceMs;
    const over = delay(graceMs, grace.signal);
    // Whoever runs again as soon as a run has ended is told that it is over, but stands here for a moment.
    do await Promise.race([nothingActive(), over]);
    while (active.size > 0 && performance.now() < end);
    grace.abort();
    const running = stillRunning();
    if (running.length > 0) {
      // Not for ever: a later close() may find them settled.
      closed = undefined;
      throw new CloseTimeoutError(graceMs, running);
    }
    // One with an occurrence that is still here was granted just now and given to nobody: its run has not been.
    const ends = [...core.keeper.leases].map((lease) =>
      lease.end({ result: lease.occurrence === undefined ? 'done' : 'abandoned' }),
    );
    // A provider that has been silent for the whole grace is not waited for any longer.
    const answered = new AbortController();
    await Promise.race([Promise.all(ends), delay(active.size > 0 ? 0 : callTimeout(settings, null), answered.signal)]);
    answered.abort();
    if (leave(provider) && !keepProvider) await asked('close', () => provider.close());
    const untold = [...new Set([...core.keeper.releasing].map(({ name }) => quote(name)))];
    if (untold.length === 0) return;
    const detail = 'no answer in time. Nothing runs any more, and the lock comes free when its lease ends';
    throw new ProviderError(provider.kind, `give back ${untold.join(', ')}`, detail);
  }

  /** Names of what has not ended, but for what waits only for the provider's word that it is given back. */
  function stillRunning(): string[] {
    const names = [...active].map(({ name }) => name);
    for (const { name } of core.keeper.releasing) {
      const index = names.indexOf(name);
      if (index !== -1) names.splice(index, 1);
    }
    return [...new Set(names)];
  }
}
