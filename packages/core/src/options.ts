import type { BackoffOptions } from './backoff.ts';
import type { Clock } from './clock.ts';
import type { TimesBetween } from './missed.ts';
import type { LockProvider, Schedule } from './provider.ts';
import type { RunHook } from './run-hooks.ts';

export interface SoloOptions {
  /** Where locks are kept. Several solos may share one; the last of them to close closes it. */
  readonly provider: LockProvider;
  /**
   * Put before every name as `namespace/`, so that programs that share a store keep apart. Up to 100 characters, no `/`.
   * @default none
   */
  readonly namespace?: string;
  /**
   * How long the provider keeps a lease without news from us, in ms: the time until another replica takes over from one that is
   * paused or cut off. It is renewed every third of that. `null`: held until the session or process ends, where the provider can.
   * @default 30_000
   */
  readonly leaseMs?: number | null;
  /**
   * How much earlier than the provider we stop trusting a lease, in ms. Must cover clocks whose rates differ and timers that are
   * late. @default a twentieth of the lease, at least 50 ms, at most a fifth of the lease
   */
  readonly marginMs?: number;
  /** Shown as the holder, beside host and process id; for example a replica's name. Up to 200 characters. @default none */
  readonly label?: string;
  /**
   * How long to wait for one answer of the provider, in ms. @default 5_000; never more than half the lease, and for an acquisition
   * never more than its lease could be trusted
   */
  readonly callTimeoutMs?: number;
  /**
   * The record of a name that is free, and was not touched for this long, is removed by whichever replica is up, a few times a day, in
   * ms; `Infinity` keeps all. It must outlast the latest moment at which a scheduled time may still be asked for, for one that is
   * forgotten could run again. A solo without a namespace looks after all records of its store. @default 90 days
   */
  readonly retainMs?: number;
  /** Hears of every run of this solo, before those that a run names itself: see `onRun` of a run. @default none */
  readonly onRun?: RunHook | readonly RunHook[] | undefined;
  /** Where holders read the passing of time. For tests. @default the process's monotonic clock, with time spent in suspend added */
  readonly clock?: Clock;
}

/** Terms of one acquisition. */
export interface LeaseOptions {
  /** As for `createSolo`. @default what `createSolo` was given */
  readonly leaseMs?: number | null | undefined;
  /** Goes on although an operator has paused the name. For the hand, and not for a schedule. @default false */
  readonly ignorePause?: boolean | undefined;
  /** Keeps the run among the last 50 of its name (`solo.runs`). Runs with an occurrence always are. @default false */
  readonly history?: boolean | undefined;
  /** Gives up waiting, and asks the handler to stop. Rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface OccurrenceOptions {
  /**
   * The scheduled time that this run is for (its *occurrence*), or a function that returns it. Over the whole fleet at most
   * `attempts` runs start for it, whatever the clocks say. A run without one is only kept from overlapping.
   */
  readonly occurrence?: Date | (() => Date) | undefined;
  /**
   * How many runs may start for one scheduled time, the first included. More than 1 recovers from crashes and failures. @default 1
   */
  readonly attempts?: number | undefined;
  /**
   * For how long to wait for a scheduled time that has not come by the provider's clock, in ms; beyond that, it is refused as
   * `early`.
   * @default Infinity
   */
  readonly maxEarlyMs?: number | undefined;
  /** A digest of the schedule, kept in the record. Adapters set it. */
  readonly scheduleHash?: string | undefined;
  /** The schedule that the occurrence comes from, kept in the record for people to read. Adapters set it. @default none */
  readonly schedule?: Schedule | undefined;
  /**
   * The scheduled time after this one, or a function that tells it; kept in the record, so that a job that is late can be told without
   * its schedule. Adapters set it. @default with a `schedule` of `everyMs`, one interval later; else none
   */
  readonly nextDueAt?: Date | (() => Date | undefined) | undefined;
  /**
   * The scheduled times after one and before another, the latest first: those that nobody claimed are told as `missed`. Adapters set
   * it. @default with a `schedule` of `everyMs`, its steps; else at most `nextDueAt` of the claim before
   */
  readonly timesBetween?: TimesBetween | undefined;
}

/** How a run goes on when another holder has the lock. @default `{ onBusy: 'skip' }` */
export type BusyPolicy =
  /** `skip` returns `{ status: 'skipped' }` at once; `throw` rejects with `LockBusyError`. */
  | { readonly onBusy?: 'skip' | 'throw' | undefined }
  /** Tries again with backoff, then skips. */
  | { readonly onBusy: 'retry'; readonly retry?: BackoffOptions | undefined }
  /** Waits its turn for up to `waitMs`, then rejects with `LockTimeoutError`. `Infinity` is allowed, but must be written. */
  | { readonly onBusy: 'wait'; readonly waitMs: number }
  /**
   * Waits until the occurrence is done elsewhere, then skips; with `attempts: 2` it takes over if the holder dies or fails (with 1
   * attempt there is none left: `exhausted`). While an *earlier* occurrence still runs, only the newest standby waits for its end:
   * never a burst of late runs.
   */
  | { readonly onBusy: 'standby' };

export interface OutageOptions {
  /**
   * How a run goes on when the provider cannot be asked. `retry`: ask again with backoff, for up to `outageMs`, or until a later
   * occurrence of the name is asked for here; then reject with the `ProviderError`. `fail`: reject with it at once. The handler
   * never runs without its lock. @default 'retry' with onBusy 'wait' and 'standby', and where `outageMs` is given; 'fail' otherwise
   */
  readonly onOutage?: 'fail' | 'retry' | undefined;
  /**
   * How long an outage may last, in ms, counted from the first try that failed; `Infinity` is allowed.
   * @default 60_000; with onBusy 'wait' as long as it waits
   */
  readonly outageMs?: number | undefined;
}

export interface WatchOptions {
  /** The handler's signal aborts after this long, with a `RunTimeoutError`, in ms. @default none */
  readonly maxRunMs?: number | undefined;
  /** How long after its signal aborted a handler counts as stuck, in ms. @default 10_000 */
  readonly graceMs?: number | undefined;
  /** Called for a stuck handler, whose lease is kept; the place to end the process. */
  readonly onStuck?: ((stuck: { readonly name: string; readonly runningMs: number }) => void) | undefined;
  /**
   * Hears when the handler runs here, and how that ended; several, in order. A monitor that is called around `run()`, outside of the
   * lock, takes each replica that skipped for a success; this one hears of the replica that ran. @default none
   */
  readonly onRun?: RunHook | readonly RunHook[] | undefined;
}

export type RunOptions = LeaseOptions & OccurrenceOptions & BusyPolicy & OutageOptions & WatchOptions;
