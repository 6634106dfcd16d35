import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import {
  OptionError,
  quote,
  warnUnlessReady,
  type BusyPolicy,
  type LeaseOptions,
  type OccurrenceOptions,
  type OutageOptions,
  type RunContext,
  type RunOptions,
  type RunResult,
  type Solo,
  type TimesBetween,
  type WatchOptions,
} from '@solorun/core';
import { checkKnown, ofRun, onceAborted, type KnownOptions } from '@solorun/core/server';
import { schedule as cronSchedule, type ScheduledTask, type TaskContext, type TaskOptions } from 'node-cron';
import { CatchUp, type CatchUpPolicy } from './catch-up.ts';
import { Instants } from './instants.ts';

/** node-cron's options without those of a coordinator, and those of `solo.run` without the occurrence: that is the tick. */
export type ScheduleOptions = Omit<TaskOptions, 'name' | 'distributed' | 'runCoordinator' | 'distributedLease'> & {
  /** The name of the task and of its lock: the same on every replica, and for one schedule only. Required. */
  readonly name: string;
  /**
   * What becomes of ticks at which no replica was up, or the name was paused, or the provider was away for longer than `outageMs`.
   * Looked for at the start, after a suspend, after such a tick and once a minute, by the provider's clock. Ticks from before the name
   * was first locked are none: a first deployment at noon does not run last night's job. @default 'skip'
   */
  readonly catchUp?: CatchUpPolicy | undefined;
  /** How late a tick may still be caught up with, in ms. @default 24 hours */
  readonly catchUpWithinMs?: number | undefined;
} & LeaseOptions &
  Pick<OccurrenceOptions, 'attempts'> &
  BusyPolicy &
  OutageOptions &
  WatchOptions;

/**
 * A handler's context. It has node-cron's fields (`date`, `dateLocalIso`, `triggeredAt`, `task`, `execution`) and the solo's
 * (`occurrence`, `signal`, `fence`, `attempt`, `recovering`, `checkpoint()`, `remainingMs()`).
 *
 * `date` is the tick, also when a random delay or a wait came before the handler. For `task.execute()` it is the time of the call, and
 * `occurrence` is undefined.
 */
export interface ScheduleContext extends Omit<TaskContext, 'reason' | 'error'>, RunContext {}

export type ScheduleHandler<T> = (context: ScheduleContext) => T | Promise<T>;

/**
 * Schedules a handler with node-cron on every replica, and runs it on one: once per tick, and never while an earlier tick still
 * runs anywhere.
 *
 * - An execution's result, in `execution:finished` and `task.lastRun()`, is the run's `RunResult`:
 *   `{ status: 'ran', value, … }` or `{ status: 'skipped', reason, … }`. An error of the handler, of the provider or of the lease
 *   is the error of the execution (`execution:failed`).
 * - `onBusy` is `'skip'` unless given. With `'standby'` and `attempts: 2`, another replica takes over a tick whose runner crashed
 *   or failed.
 * - A tick that comes while the provider cannot be asked asks again for a minute (`outageMs`), or until the next tick is due. With
 *   `onOutage: 'fail'` it fails at once. The handler never runs without its lock.
 * - Ticks that nobody ran are over, unless `catchUp` says otherwise. One that is caught up with is an execution of the task like any
 *   other, and `date` and `occurrence` are the tick that was missed.
 * - `task.execute()` takes the lock too, claims no occurrence and never stands in for a tick. It resolves to a `RunResult`. It is
 *   skipped while the handler runs elsewhere, unless `onBusy` says `'wait'`, `'retry'` or `'throw'`.
 * - `signal`, and the end of the solo (`solo.close()`), end the schedule and also what runs or waits: the task is destroyed.
 * - `noOverlap` is not needed. With it node-cron drops ticks of this replica while one of its own runs or waits, even if no other
 *   replica would run them. `maxExecutions` counts the ticks that fired here, the skipped ones too.
 * - Replicas must agree on `expression` and `timezone`; the default time zone is each machine's own. The record keeps a digest of
 *   both (`scheduleHash`).
 *
 * `soloCoordinator` is for jobs in a file of their own, which node-cron runs in a process of its own.
 *
 * @returns node-cron's task, started.
 * @throws OptionError, also for a second schedule of that name on the solo while the first one exists; UnsupportedError if the provider
 * keeps no occurrences; the signal's reason if it is aborted already; node-cron's own errors, for an expression that it cannot read.
 * @example
 * schedule(solo, '0 3 * * *', ({ signal, occurrence }) => backup(occurrence?.at, signal), { name: 'nightly-backup' });
 */
export function schedule<T>(solo: Solo, expression: string, handler: ScheduleHandler<T>, options: ScheduleOptions): ScheduledTask {
  checkHandler(handler);
  checkOptions(options);
  const { name, signal } = options;
  const timezone = options.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const terms = {
    ...withPatience(runOptionsIn(options)),
    scheduleHash: scheduleHash(expression, timezone),
    schedule: { expression, timezone },
  };
  // A name or an option that cannot work is reported here, and not at the first tick.
  solo.checkOptions(name, { ...terms, occurrence: new Date() });
  signal?.throwIfAborted();
  solo.signal.throwIfAborted();
  const names = namesOf(solo);
  if (names.has(name)) {
    throw new OptionError(
      `schedule() was called twice for ${quote(name)}: which of the two runs would be chance. Give each schedule a name of ` +
        'its own, or destroy() the first one before the second is made.',
    );
  }

  const runTick = (context: TaskContext, date: Date): Promise<RunResult<T>> => {
    const handle = (run: RunContext): T | Promise<T> => handler({ ...context, date, ...run });
    const nextDueAt = task.getNextRun() ?? undefined;
    return solo.run(name, handle, { ...terms, occurrence: date, nextDueAt, timesBetween });
  };
  const onTick = async (context: TaskContext): Promise<RunResult<T>> => {
    const missed = caughtUp.getStore();
    // What the handler begins is no part of it.
    if (missed !== undefined) return caughtUp.run(undefined, () => runTick(context, missed));
    if (context.execution?.reason === 'invoked') {
      return solo.run(name, (run) => handler({ ...context, ...run }), withoutOccurrence(terms));
    }
    return catchUp === undefined
      ? runTick(context, context.date)
      : catchUp.tick(context.date, () => runTick(context, context.date));
  };
  const task = cronSchedule(expression, onTick, options);
  const instants = new Instants(task, expression);
  const timesBetween: TimesBetween = (after, before) => instants.between(after, new Date(before.getTime() - 1));
  const ended = new AbortController();
  const catchUp = catchUpOf(solo, task, instants, options, ended.signal);
  names.add(name);
  warnUnlessReady(solo);
  const unlink = [solo.signal, signal].map((end) => onceAborted(end, () => void task.destroy()));
  task.once('task:destroyed', () => {
    names.delete(name);
    ended.abort();
    for (const end of unlink) end();
  });
  return task;
}

/** The tick that an execution is to catch up with: node-cron hands its own date to the handler. */
const caughtUp = new AsyncLocalStorage<Date | undefined>();

const DAY_MS = 86_400_000;
/** Each day of it costs some milliseconds at the start. */
const LONGEST_CATCH_UP_MS = 366 * DAY_MS;

function catchUpOf(
  solo: Solo,
  task: ScheduledTask,
  instants: Instants,
  options: ScheduleOptions,
  signal: AbortSignal,
): CatchUp | undefined {
  const { name, catchUp: policy = 'skip', catchUpWithinMs: withinMs = DAY_MS, attempts = 1 } = options;
  if (policy === 'skip') return undefined;
  const run = (at: Date): Promise<RunResult<unknown>> => caughtUp.run(at, () => task.execute()) as Promise<RunResult<unknown>>;
  const catchUp = new CatchUp({ solo, name, instants, policy, withinMs, attempts, run, signal });
  // The clock stood still: the process was suspended, or its event loop was blocked.
  task.on('execution:missed', () => void catchUp.look());
  void catchUp.look();
  return catchUp;
}

const scheduled = new WeakMap<Solo, Set<string>>();

/** The names of the schedules that a solo has now. */
function namesOf(solo: Solo): Set<string> {
  const names = scheduled.get(solo) ?? new Set();
  scheduled.set(solo, names);
  return names;
}

/** Those of node-cron 4.6, of a solo's run, and of the catching up. */
const ofSchedule: KnownOptions = {
  of: 'schedule()',
  names: new Set([
    ...ofRun.names,
    'catchUp',
    'catchUpWithinMs',
    ...Object.keys({
      timezone: true,
      name: true,
      noOverlap: true,
      distributed: true,
      runCoordinator: true,
      distributedLease: true,
      maxExecutions: true,
      maxRandomDelay: true,
      logger: true,
      suppressMissedWarning: true,
      missedExecutionTolerance: true,
      executeTimeout: true,
      startTimeout: true,
      unref: true,
    } satisfies Record<keyof TaskOptions, true>),
  ]),
  open: true,
};

function runOptionsIn(options: ScheduleOptions): RunOptions {
  return Object.fromEntries(Object.entries(options).filter(([option]) => ofRun.names.has(option)));
}

/** A tick that comes in an outage is worth waiting for, whatever `onBusy` says. */
function withPatience(options: RunOptions): RunOptions {
  return options.onOutage === undefined ? { ...options, onOutage: 'retry' } : options;
}

/** Without an occurrence there is nothing to attempt again or to stand by for. */
function withoutOccurrence(options: RunOptions): RunOptions {
  const once = { ...options, attempts: 1 };
  return once.onBusy === 'standby' ? { ...once, onBusy: 'skip' } : once;
}

function checkHandler(handler: unknown): void {
  if (typeof handler === 'function') return;
  if (typeof handler === 'string') {
    throw new OptionError(
      `schedule() cannot wrap the file ${JSON.stringify(handler)}, which node-cron runs in another process. Give a function, or ` +
        "use node-cron's own schedule with { distributed: true, runCoordinator: soloCoordinator(solo) }.",
    );
  }
  throw new OptionError(`The handler of schedule() is a function, not ${typeof handler}.`);
}

/** Checks what the types rule out, for programs in JavaScript. */
function checkOptions(options: ScheduleOptions | undefined): void {
  if (typeof options?.name !== 'string' || options.name === '') {
    throw new OptionError('schedule() needs a name, the same on every replica: { name: "nightly-backup" }.');
  }
  checkKnown(ofSchedule, options);
  const given: Readonly<Record<string, unknown>> = { ...options };
  for (const option of ['distributed', 'runCoordinator', 'distributedLease']) {
    if (given[option] !== undefined && given[option] !== false) {
      throw new OptionError(
        `schedule() decides by itself which replica runs ${quote(options.name)}: leave out ${option}, or use node-cron's ` +
          'own schedule with soloCoordinator(solo).',
      );
    }
  }
  checkCatchUp(options);
  for (const option of ['occurrence', 'scheduleHash', 'schedule', 'nextDueAt', 'timesBetween']) {
    if (given[option] !== undefined) {
      throw new OptionError(`schedule() sets ${option} itself: the occurrence of ${quote(options.name)} is the tick.`);
    }
  }
}

function checkCatchUp({ name, catchUp = 'skip', catchUpWithinMs = DAY_MS }: ScheduleOptions): void {
  const isAll = typeof catchUp === 'object' && catchUp?.all && Number.isSafeInteger(catchUp.max) && catchUp.max >= 1;
  if (catchUp !== 'skip' && catchUp !== 'latest' && !isAll) {
    throw new OptionError(
      `catchUp is 'skip', 'latest' or { all: true, max } with max from 1, not ${JSON.stringify(catchUp)} (${quote(name)}).`,
    );
  }
  if (typeof catchUpWithinMs === 'number' && catchUpWithinMs > 0 && catchUpWithinMs <= LONGEST_CATCH_UP_MS) return;
  throw new OptionError(
    `catchUpWithinMs is a number of milliseconds, 366 days at most, not ${String(catchUpWithinMs)} (${quote(name)}).`,
  );
}

/** A digest that differs between schedules, so that replicas of different versions can be noticed. */
function scheduleHash(expression: string, zone: string): string {
  const text = `${expression.trim().replaceAll(/\s+/gu, ' ')} ${zone}`;
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
