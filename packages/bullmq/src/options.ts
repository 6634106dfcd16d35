import {
  OptionError,
  warnUnlessReady,
  type BusyPolicy,
  type Holder,
  type LeaseOptions,
  type Solo,
  type WatchOptions,
} from '@solorun/core';
import { checkKnown, type KnownOptions } from '@solorun/core/server';
import type { Job } from 'bullmq';
import { settlePutOff, type PutOff, type PutOffOptions } from './backoff.ts';

/** A job as processors and options get it. The type of its return value is left open: BullMQ gives an earlier one the type of the new. */
export type AnyResultJob<Data, Name extends string> = Job<Data, Job['returnvalue'], Name>;

/**
 * The fate of a job while its lock is held elsewhere.
 * - `skip`: it completes at once, with a `SkippedJob`;
 * - `retry`: it is put off (`backoff`) and comes again; no attempt is counted;
 * - `wait`: it waits its turn in its worker's slot, for up to `waitMs`, then fails with `LockTimeoutError`;
 * - `fail`: it fails with `LockBusyError`. A failure is an attempt, and BullMQ decides whether another one follows.
 */
export type BusyAction = 'skip' | 'retry' | 'wait' | 'fail';

export type BusyDecision<Data, Name extends string> = (
  job: AnyResultJob<Data, Name>,
  holder: Holder | undefined,
) => BusyAction | Promise<BusyAction>;

/** @default `{ onBusy: 'skip' }` for the jobs of a job scheduler, `{ onBusy: 'retry' }` for others */
export type BusyOptions<Data, Name extends string> =
  | {
      /** A job that has stalled is put off and not skipped: the holder of its lock may be its own earlier run, which may never end well. */
      readonly onBusy?: 'skip' | 'retry' | 'fail' | undefined;
    }
  | {
      readonly onBusy: 'wait';
      /** How long to wait for the lock, in ms. `Infinity` is allowed, and has to be written. */
      readonly waitMs: number;
    }
  | {
      /** Decides from job to job. `holder` is the holder of the lock at the time of the try. */
      readonly onBusy: BusyDecision<Data, Name>;
      /** For when it decides to wait, in ms. @default 0 */
      readonly waitMs?: number | undefined;
    };

export type SingletonOptions<Data, Name extends string> = {
  /** The name of the lock: of all jobs with the same one, in whatever queue, one runs at a time. */
  readonly name: string | ((job: AnyResultJob<Data, Name>) => string);
  /** How a job is put off. */
  readonly backoff?: PutOffOptions | undefined;
  /**
   * The fate of a job while the locks' provider cannot be asked, and so nothing may run. `retry` puts the job off, as when its lock is
   * busy; no attempt is counted. `fail` fails it with the `ProviderError`. @default 'fail' for the jobs of a job scheduler, whose next
   * one comes anyway; 'retry' for others
   */
  readonly onOutage?: 'retry' | 'fail' | undefined;
  /**
   * The scheduled time that a job's run is for. It is kept after the run: once it is done, or a later one of that lock was claimed, no
   * job runs it again. `scheduled`: the tick of its job scheduler; such a lock is for one scheduler only. A function may return
   * undefined for some jobs. @default none: jobs are kept from overlapping, and each is run
   */
  readonly occurrence?: 'scheduled' | ((job: AnyResultJob<Data, Name>) => Date | undefined) | undefined;
  /**
   * How many runs of one occurrence may start, over the whole fleet. 1: at most once, also if the run crashes.
   * @default as often as BullMQ hands the job out: its own `attempts` and `maxStalledCount` say how often a job is tried
   */
  readonly attempts?: number | undefined;
} & BusyOptions<Data, Name> &
  Pick<LeaseOptions, 'leaseMs'> &
  WatchOptions;

export interface Settings<Data, Name extends string> {
  readonly nameOf: (job: AnyResultJob<Data, Name>) => string;
  readonly onBusy: BusyAction | BusyDecision<Data, Name> | undefined;
  readonly waitMs: number;
  readonly putOff: PutOff;
  readonly onOutage: 'retry' | 'fail' | undefined;
  readonly occurrence: SingletonOptions<Data, Name>['occurrence'];
  readonly attempts: number;
  readonly run: Pick<LeaseOptions, 'leaseMs'> & WatchOptions;
}

/** The largest that providers keep in an integer. */
const AS_OFTEN_AS_HANDED_OUT = 2 ** 31 - 1;
const actions: readonly unknown[] = ['skip', 'retry', 'wait', 'fail'] satisfies BusyAction[];

/** Of every member of a union. */
type NameOf<Options> = Options extends unknown ? keyof Options : never;

const ofProcessor: KnownOptions = {
  of: 'singletonProcessor()',
  names: new Set(
    Object.keys({
      name: true,
      backoff: true,
      onOutage: true,
      occurrence: true,
      attempts: true,
      onBusy: true,
      waitMs: true,
      leaseMs: true,
      maxRunMs: true,
      graceMs: true,
      onStuck: true,
      onRun: true,
    } satisfies Record<NameOf<SingletonOptions<unknown, string>>, true>),
  ),
};

function isAction(value: unknown): value is BusyAction {
  return actions.includes(value);
}

export function settle<Data, Name extends string>(
  solo: Solo,
  options: SingletonOptions<Data, Name>,
  processor: unknown,
): Settings<Data, Name> {
  if (typeof processor !== 'function') {
    throw new OptionError(
      `singletonProcessor() wraps a function, not ${typeof processor}. For a processor in a file of its own, call it in that file.`,
    );
  }
  checkKnown(ofProcessor, options);
  const { name, onBusy, backoff, onOutage, occurrence, attempts, leaseMs, maxRunMs, graceMs, onStuck, onRun } = options;
  if (typeof name !== 'function' && (typeof name !== 'string' || name === '')) {
    throw new OptionError('singletonProcessor() needs a name for the lock: { name: "orders" }, or a function of the job.');
  }
  if (onBusy !== undefined && typeof onBusy !== 'function' && !isAction(onBusy)) {
    throw new OptionError(`onBusy is 'skip', 'retry', 'wait', 'fail' or a function, not ${String(onBusy)}.`);
  }
  if (onOutage !== undefined && onOutage !== 'retry' && onOutage !== 'fail') {
    throw new OptionError(`onOutage is 'retry' or 'fail', not ${String(onOutage)}.`);
  }
  if (occurrence !== undefined && occurrence !== 'scheduled' && typeof occurrence !== 'function') {
    throw new OptionError(`occurrence is 'scheduled' or a function of the job, not ${typeof occurrence}.`);
  }
  if (attempts !== undefined && occurrence === undefined) {
    throw new OptionError(
      `attempts = ${attempts} needs an occurrence. How often a failed job is tried is BullMQ's option of the job.`,
    );
  }
  const waitMs = 'waitMs' in options ? options.waitMs : undefined;
  const run = { leaseMs, maxRunMs, graceMs, onStuck, onRun };
  // The core refuses wrong options here, and not at the first job.
  const claim = occurrence === undefined ? {} : { occurrence: new Date(), attempts: attempts ?? 1 };
  const wait: BusyPolicy = onBusy === 'wait' || waitMs !== undefined ? { onBusy: 'wait', waitMs: waitMs as number } : {};
  solo.checkOptions(typeof name === 'string' ? name : 'name', { ...run, ...claim, ...wait });
  warnUnlessReady(solo);
  return {
    nameOf: typeof name === 'string' ? () => name : name,
    onBusy,
    waitMs: waitMs ?? 0,
    putOff: settlePutOff(backoff),
    onOutage,
    occurrence,
    attempts: attempts ?? AS_OFTEN_AS_HANDED_OUT,
    run,
  };
}
