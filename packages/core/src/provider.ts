import type { Finding } from './finding.ts';

/**
 * The contract between the core and a provider.
 *
 * A provider answers small questions and never waits; the core owns everything that takes time (waiting, jitter, renewing,
 * deadlines, abort, reporting). Four rules run through every verb:
 *
 * - *Busy is a value, trouble is an exception, unknown is neither.* A refused try is an answer. A provider that cannot be asked
 *   rejects. A renewal that rejects is unknown, not lost: the holder's clock decides.
 * - *The proof travels with the grant.* `renew` and `release` compare owner (and so fence) where the record lives, never in the
 *   client, so nobody ends somebody else's lease.
 * - *An answer that is at hand need not be a promise.* One that takes time is.
 * - *Nothing half-done stays.* A try whose answer was lost or came after `signal` aborted is undone by its owner nonce.
 *
 * `@solorun/core/testing` is this contract as a test suite.
 */
export interface LockProvider {
  /** The name of this kind of provider, for messages and events: `postgres-advisory`, `lockfile`, `memory`. */
  readonly kind: string;
  /**
   * Read at each call, so that what is learned only once connected (a role that may create nothing, an old server) may weaken it.
   * The provider refuses anything beyond it with an `UnsupportedError`.
   */
  readonly guarantees: Guarantees;
  /**
   * The provider keeps nothing of a signal once its call was answered: no listener, and nothing made of it (`AbortSignal.any`). The core
   * may then give it to another call, rather than make one for each. A wrapper that spreads a provider takes this on. @default false
   */
  readonly forgetsSignals?: boolean;

  /**
   * One attempt, one answer. The lease counts from the moment the provider sees the request, so never before the caller sent it.
   * With an occurrence, lease and claim are one atomic step.
   *
   * When `signal` aborts it rejects soon, and whatever it may have acquired is undone (in the background if need be).
   */
  tryAcquire(request: AcquireRequest, signal: AbortSignal): AcquireResult | Promise<AcquireResult>;

  /**
   * Asked every third of a lease that ends by time, and now and then of one without end, to learn whether it was taken; many in one
   * turn of the event loop. The provider itself keeps a lease without end alive.
   *
   * True: the lease counts anew from some moment after the call began. False: known to be lost. Rejects: unknown.
   *
   * A lease whose time is over by the provider's clock is lost, also while nobody has followed: the name was free in between, and was
   * shown as free.
   */
  renew(grant: Grant, signal: AbortSignal): boolean | Promise<boolean>;

  /**
   * Frees the name and records how the run ended, if the grant still owns it. False: it no longer does, and nothing was changed.
   * Rejects: unknown; the core tries again, so releasing twice is harmless.
   *
   * Name, owner and fence are enough, from whatever process: an operator who reads them from the record can release for a holder
   * that will not, and the holder learns of it at its next renewal.
   */
  release(grant: Grant, outcome: Outcome, signal: AbortSignal): boolean | Promise<boolean>;

  /**
   * Resolves when a try is worth making: a hint, it may be early or false. It may keep a place in the server's queue for
   * `request.owner`, or hold the name ready for it, until that owner's next `tryAcquire` has been answered or `signal` aborts;
   * the core does one of the two. Without it the core polls.
   */
  untilFree?(request: AcquireRequest, signal: AbortSignal): Promise<void>;

  /** The record of one name, or undefined if it was never acquired. Rejects soon with the signal's reason once that aborts. */
  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined>;

  /** Every record whose name starts with `prefix`, in no particular order. `next()` heeds the signal as `inspect` does. */
  list(prefix?: string, signal?: AbortSignal): AsyncIterable<JobRecord>;

  /**
   * Refuses the name to every acquisition that is asked for after this has resolved, on every replica, until the pause ends by the
   * provider's clock. It need never have been acquired. A run in progress goes on; a pause that stands is replaced.
   *
   * @throws UnsupportedError where no records are kept (`guarantees.occurrences`); so do the verbs below
   */
  pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause>;

  /** Ends the pause of a name. False: it was not paused. */
  resume(name: string, signal: AbortSignal): Promise<boolean>;

  /** Every pause in force of a name that starts with `prefix`, in no particular order, also of names that were never acquired. */
  pauses(prefix?: string, signal?: AbortSignal): AsyncIterable<NamedPause>;

  /** The last runs of a name, the newest first, `limit` at most: see `AcquireRequest.history`. */
  runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]>;

  /**
   * Allows one more attempt of the last occurrence, whatever became of it, and of none before it. Undefined, and nothing is changed:
   * the name has none, or is held. Twice is one more attempt.
   */
  reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined>;

  /**
   * Removes the record of a name, with its runs, if it is not held, not paused, and was not touched for `untouchedForMs` by the
   * provider's clock (see `isUntouched`). False: nothing was removed. Later fences of the name are greater than those before.
   */
  forget(name: string, terms: ForgetTerms, signal: AbortSignal): Promise<boolean>;

  /**
   * Lists what the provider finds about its server or directory for locks, also what is in order. It takes a connection of its own, so
   * it works before anything was locked. A server without an answer is a finding. Rejects soon with the signal's reason once that aborts.
   */
  examine?(signal?: AbortSignal): Promise<readonly Finding[]>;

  /**
   * Lets go of connections, files and timers. Twice is quiet. Where leases end with the process, those still held end now, and
   * their grants' `lost` signals abort before anybody else can acquire.
   */
  close(): Promise<void>;
}

/** The promises of a provider, as data: `explain()` prints it and the contract suite holds the provider to it. */
export interface Guarantees {
  /** The clock that ends a lease: a server's, the file store's, or this process's own. */
  readonly clock: 'server' | 'store' | 'process';
  /** The holders that are kept apart: code in one process, processes on one machine, or every replica that reaches the store. */
  readonly reach: 'process' | 'host' | 'fleet';
  /**
   * The name comes free `leaseMs` after the last renewal, even if the holder is paused or cut off. `while running`: only as long as
   * the holder's process runs and reaches the provider; it stops trusting its lease in time all the same.
   */
  readonly expiry: boolean | 'while running';
  /** `leaseMs: null` is accepted: held until the session or process ends. */
  readonly unbounded: boolean;
  /** A SIGKILL of the holder frees the name at once: always, if the next one is on the same host, or only by expiry. */
  readonly crash: 'at once' | 'same host at once' | 'by expiry';
  /** How far fences only grow. */
  readonly fence: 'durable' | 'until server crash' | 'process';
  /** Occurrences and records are kept. */
  readonly occurrences: boolean;
  /** How a waiter learns that the name is free: the server's own queue, a notification, or polling. */
  readonly wakeUp: 'queue' | 'push' | 'poll';
  /**
   * How long it may take until the record shows *other* processes that a lease without an occurrence began or ended, in ms. Exclusion
   * never waits for records; claims of occurrences are in them at once. @default 0
   */
  readonly recordLagMs?: number;
  /** The shortest lease that the clock's granularity allows, in ms. */
  readonly minLeaseMs: number;
  /** The things that would break the promises, one sentence each. */
  readonly caveats: readonly string[];
}

/** The process that asks, for people to read. Never used to decide whose a lease is; that is the owner nonce alone. */
export interface Identity {
  readonly host: string;
  readonly pid: number;
  readonly label?: string | undefined;
}

export interface Holder extends Identity {
  /** When it acquired the name, by the provider's clock. */
  readonly since: Date;
}

export interface AcquireRequest {
  /** Any well-formed string of 1 to 601 code points (namespace included): never a path, SQL or a shell word. */
  readonly name: string;
  /** A nonce, one per acquisition. */
  readonly owner: string;
  /** How long the provider keeps the lease without news from us, in ms. `null`: until the session or process ends. */
  readonly leaseMs: number | null;
  readonly holder: Identity;
  readonly occurrence?: OccurrenceRequest | undefined;
  /** The run is kept among the last 50 of its name, also without an occurrence; with one it always is. @default false */
  readonly history?: boolean | undefined;
  /** A pause of the name does not count. @default false */
  readonly ignorePause?: boolean | undefined;
}

/** A schedule as people write it. `timezone` is an IANA name. */
export type Schedule = { readonly expression: string; readonly timezone?: string | undefined } | { readonly everyMs: number };

export interface OccurrenceRequest {
  /** The scheduled instant the run is for; never "now". */
  readonly at: Date;
  /** How many runs of this occurrence may start, over the whole fleet. */
  readonly attempts: number;
  /** A digest of the schedule it comes from, kept in the record so that replicas with different schedules can be told. */
  readonly scheduleHash?: string | undefined;
  /** The schedule that it comes from; kept in the record. */
  readonly schedule?: Schedule | undefined;
  /** The scheduled instant after `at`, kept in the record, so that a reader sees without a parser that the job is late. */
  readonly nextDueAt?: Date | undefined;
}

/** A pause of a name: nothing starts under it before it ends. */
export interface Pause {
  /** When it ends by itself, by the provider's clock. */
  readonly until: Date;
  /** Who paused it, for people to read. */
  readonly by: string;
  /** Why, for people to read. */
  readonly note?: string | undefined;
}

export interface NamedPause extends Pause {
  readonly name: string;
}

/** A pause to be made: either for so many ms, counted by the provider, or until an instant. */
export type PauseTerms = { readonly by: string; readonly note?: string | undefined } & (
  | { readonly forMs: number }
  | { readonly until: Date }
);

export interface ForgetTerms {
  readonly untouchedForMs: number;
}

export type AcquireResult = { readonly acquired: true; readonly grant: Grant } | Refusal;

export type Refusal =
  | {
      readonly acquired: false;
      /** Another holder has the name. */
      readonly reason: 'held';
      readonly holder?: Holder | undefined;
      /** How long it has been held, by the provider's clock. */
      readonly heldForMs?: number | undefined;
      /** When the lease ends unless it is renewed, by the provider's clock. Undefined: it does not expire. */
      readonly expiresInMs?: number | undefined;
      /**
       * A holder may still have it: the provider has just come back, and waits until leases that it may have forgotten are over.
       * @default false
       */
      readonly settling?: boolean;
      /**
       * The obstacle when it is not a holder, in words that name the remedy: a row that another transaction has locked, with the
       * process ids of its sessions. Shown in errors and events. @default none
       */
      readonly detail?: string | undefined;
      readonly record?: JobRecord | undefined;
    }
  | {
      readonly acquired: false;
      /**
       * `done`: that occurrence has run. `superseded`: a later one has been claimed. `exhausted`: all its attempts were started.
       */
      readonly reason: 'done' | 'superseded' | 'exhausted';
      readonly record?: JobRecord | undefined;
    }
  | (Pause & {
      readonly acquired: false;
      /** An operator has paused the name. */
      readonly reason: 'paused';
      readonly record?: JobRecord | undefined;
    })
  | {
      readonly acquired: false;
      /** The occurrence lies in the provider's future: this replica's clock runs ahead. */
      readonly reason: 'early';
      readonly earlyMs: number;
      /**
       * It is no clock that is wrong: the provider has just come back, and waits until leases that it may have forgotten are over.
       * @default false
       */
      readonly settling?: boolean;
      readonly record?: JobRecord | undefined;
    };

/** A lease as the provider granted it. Providers may keep more on their own grants; the core hands them back untouched. */
export interface Grant {
  readonly name: string;
  readonly owner: string;
  /** The fencing token: grows with every acquisition of the name, minted in the same atomic step. */
  readonly fence: bigint;
  /** 1, 2, … of the occurrence; 1 without one. */
  readonly attempt: number;
  /** The occurrence that the record knew before this acquisition. Told of requests that have one themselves. */
  readonly previous?: OccurrenceState | undefined;
  /** The digest of the schedule that the record knew before this acquisition. Told of requests that have an occurrence. */
  readonly previousScheduleHash?: string | undefined;
  /** The schedule itself, likewise, if it was told. */
  readonly previousSchedule?: Schedule | undefined;
  /** `nextDueAt` of the record before this acquisition, likewise: the scheduled time that was to follow `previous`, if it was told. */
  readonly previousNextDueAt?: Date | undefined;
  /** Aborts when the provider itself learns that the lease is gone (its session ended). */
  readonly lost?: AbortSignal | undefined;
}

/**
 * How a lease ended.
 * - `done`: the handler succeeded; the occurrence will not run again.
 * - `failed`: it started and did not succeed; another attempt may follow if one is left.
 * - `abandoned`: no handler was started; the claim is undone as if it had never been made.
 */
export type Outcome =
  | { readonly result: 'done' }
  | { readonly result: 'failed'; readonly error: string }
  | { readonly result: 'abandoned' };

/** The high-water mark of a name. */
export interface OccurrenceState {
  readonly at: Date;
  /** `reopened`: an operator has allowed one more attempt. */
  readonly state: 'claimed' | 'done' | 'failed' | 'reopened';
  readonly attempt: number;
}

/** How a run ended. `lost`: nobody said; its lease ended, or its holder died. */
export type RunOutcome = 'done' | 'failed' | 'lost';

/** A run that is over. Times are the provider's. */
export interface RunRecord {
  readonly fence: bigint;
  /** The scheduled time that it was for. */
  readonly occurrence?: Date | undefined;
  readonly attempt: number;
  readonly holder: Identity;
  readonly startedAt: Date;
  /** Undefined for one that was lost where nobody knows when. */
  readonly finishedAt?: Date | undefined;
  readonly outcome: RunOutcome;
  /** As `JobRecord.lastError`. */
  readonly error?: string | undefined;
}

/** The record that the provider keeps of a name. Times are the provider's. */
export interface JobRecord {
  /** When it was read: "for how long" and "in how long" are counted from here, whatever the reader's clock says. */
  readonly readAt: Date;
  readonly name: string;
  /** False also when a lease has expired or its holder is known to be dead. */
  readonly held: boolean;
  /** Of the last acquisition. */
  readonly owner: string;
  readonly holder: Holder;
  readonly fence: bigint;
  readonly acquiredAt: Date;
  /** `null`: held without expiry. Undefined: not held. */
  readonly expiresAt?: Date | null | undefined;
  readonly occurrence?: OccurrenceState | undefined;
  readonly lastStartedAt?: Date | undefined;
  readonly lastSuccessAt?: Date | undefined;
  readonly lastDurationMs?: number | undefined;
  /** Message of the last failure, shortened and with credentials masked; cleared by the next success. */
  readonly lastError?: string | undefined;
  readonly scheduleHash?: string | undefined;
  /** Of the last claim that told it. */
  readonly schedule?: Schedule | undefined;
  /** The scheduled time after the last one that was claimed, if its claim told it. */
  readonly nextDueAt?: Date | undefined;
  /** When the name was first acquired; for a record from before this was kept, some moment after that. */
  readonly knownSince?: Date | undefined;
  /** When the last run that is over ended. Undefined also for one that was lost where nobody knows when. */
  readonly lastFinishedAt?: Date | undefined;
  readonly lastOutcome?: RunOutcome | undefined;
  /** Who had the last run that is over. */
  readonly lastRunBy?: Holder | undefined;
  /** The length of the last lease, in ms; `null`: without end. */
  readonly leaseMs?: number | null | undefined;
  /** The pause in force. */
  readonly paused?: Pause | undefined;
}
