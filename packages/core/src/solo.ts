import { acquireWhenFree, leaseOrUndefined, tellSkipped, tryOnce } from './acquire.ts';
import { delay } from './bounded.ts';
import { createCore, throwIfClosed, type Attempt, type Core } from './core.ts';
import { elect, type ElectOptions, type Election } from './elect.ts';
import { ClosedError, CloseTimeoutError, messageOf, ProviderError, UnsupportedError } from './errors.ts';
import type { SoloEventName, SoloEvents } from './events.ts';
import { explain, type Explanation } from './explain.ts';
import type { HeldLease, Lease } from './lease.ts';
import {
  checkName,
  checkWait,
  fullName,
  settlePolicy,
  settleSolo,
  settleTerms,
  settleWatch,
  type LeaseOptions,
  type OccurrenceOptions,
  type RunOptions,
  type SoloOptions,
} from './options.ts';
import type { JobRecord, Refusal } from './provider.ts';
import { run, type Handler, type RunContext, type RunResult } from './run.ts';

export interface AcquireOptions extends LeaseOptions {
  /** How long to wait for the lock, in ms; `Infinity` is allowed, but said. */
  readonly waitMs: number;
}

export interface ClaimOptions extends LeaseOptions, OccurrenceOptions {
  /** An occurrence that is not yet due by the provider's clock is waited for up to this long, in ms. @default Infinity */
  readonly maxEarlyMs?: number;
}

/** A lease, or why there is none. */
export type Claim = { readonly acquired: true; readonly lease: Lease } | Refusal;

export interface CloseOptions {
  /** How long handlers may take to settle after their signal aborted, in ms. @default 30_000 */
  readonly graceMs?: number;
  /** Leaves the provider open, for other solos that share it. @default false */
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
  /** Returns what removes the listener. A listener that throws is reported as a process warning. */
  on<E extends SoloEventName>(event: E, listener: (detail: SoloEvents[E]) => void): () => void;
  /**
   * Claims nothing more, aborts the signals of all leases, waits for runs, elections and claims to end, releases what was acquired
   * by hand, and lets go of the provider.
   * @throws CloseTimeoutError if something still runs after `graceMs`: its lease is kept.
   */
  close(options?: CloseOptions): Promise<void>;
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
  const core = createCore(settings);
  const { provider, namespace } = settings;
  /** Runs and elections: what close() waits for. */
  const active = new Map<Promise<unknown>, string>();
  let closed: Promise<void> | undefined;

  function track<T>(name: string, work: Promise<T>): Promise<T> {
    active.set(work, name);
    const forget = (): void => void active.delete(work);
    work.then(forget, forget);
    return work;
  }

  /** A name of ours as its user wrote it. */
  const unprefix = (record: JobRecord): JobRecord =>
    namespace === '' ? record : { ...record, name: record.name.slice(namespace.length + 1) };

  async function one(attempt: Promise<Attempt>): Promise<HeldLease | undefined> {
    const lease = await leaseOrUndefined(attempt);
    if (lease === undefined || !core.closing.signal.aborted) return lease;
    await lease.end({ result: 'abandoned' });
    throw new ClosedError();
  }

  return {
    run: (name, handler, runOptions) => track(name, run(core, name, handler, runOptions)),

    singleton(name, handler, runOptions = {}) {
      // Found wrong here, not at the first tick. An occurrence given as a function is asked again at each call.
      settleTerms(settings, name, runOptions);
      settlePolicy(name, runOptions);
      settleWatch(runOptions);
      return (...args) =>
        track(
          name,
          run(core, name, (context) => handler(context, ...args), runOptions),
        );
    },

    async tryAcquire(name, leaseOptions = {}) {
      const terms = settleTerms(settings, name, leaseOptions);
      throwIfClosed(core);
      return one(tryOnce(core, terms));
    },

    async acquire(name, acquireOptions) {
      const terms = settleTerms(settings, name, acquireOptions);
      const waitMs = checkWait(acquireOptions.waitMs, name);
      throwIfClosed(core);
      // Without an occurrence a refusal is always "held", and a wait ends only with a lease or an error.
      return (await one(acquireWhenFree(core, terms, { waitMs })))!;
    },

    async claim(name, claimOptions = {}) {
      const terms = settleTerms(settings, name, claimOptions);
      throwIfClosed(core);
      const attempt = await tryOnce(core, terms, claimOptions.maxEarlyMs);
      if (!attempt.acquired) tellSkipped(core, terms, attempt);
      else if (core.closing.signal.aborted) {
        await attempt.lease.end({ result: 'abandoned' });
        throw new ClosedError();
      } else void track(name, attempt.lease.over());
      return attempt;
    },

    elect(name, electOptions) {
      throwIfClosed(core);
      const election = elect(core, name, electOptions);
      void track(name, election.finished);
      return election;
    },

    async inspect(name) {
      checkName(name);
      const record = await asked(core, 'inspect', () => provider.inspect(fullName(namespace, name)));
      return record === undefined ? undefined : unprefix(record);
    },

    async *list() {
      for await (const record of provider.list(namespace === '' ? '' : `${namespace}/`)) yield unprefix(record);
    },

    explain: (explainOptions = {}) => explain(settings, explainOptions.leaseMs),

    on: (event, listener) => core.events.on(event, listener),

    close(closeOptions = {}) {
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
    for (const lease of core.leases) lease.abort(core.closing.signal.reason);
    const grace = new AbortController();
    await Promise.race([Promise.allSettled(active.keys()), delay(graceMs, grace.signal)]);
    grace.abort();
    if (active.size > 0) {
      // Not for ever: a later close() may find them settled.
      closed = undefined;
      throw new CloseTimeoutError(graceMs, [...new Set(active.values())]);
    }
    await Promise.all([...core.leases].map((lease) => lease.release()));
    if (!keepProvider) await provider.close();
  }
}

async function asked<T>(core: Core, operation: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ProviderError || error instanceof UnsupportedError) throw error;
    throw new ProviderError(core.settings.provider.kind, operation, messageOf(error), { cause: error });
  }
}
