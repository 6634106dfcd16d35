import {
  ClosedError,
  LeaseLostError,
  LockBusyError,
  OptionError,
  ProviderError,
  quote,
  type BusyPolicy,
  type Holder,
  type RunContext,
  type SkipReason,
  type Skipped,
  type Solo,
} from '@solorun/core';
import { UnrecoverableError, type Job } from 'bullmq';
import { sendable } from './errors.ts';
import { handOut, type HandOut } from './hand-out.ts';
import { settle, type AnyResultJob, type BusyAction, type Settings, type SingletonOptions } from './options.ts';
import { endSpell, giveBack, putOff, putOffUntil, settlesTheJob, warnOfMaxStartedAttempts } from './put-off.ts';
import { isScheduled, scheduledInstant } from './scheduled.ts';

/**
 * A BullMQ processor as it always was, with one parameter more.
 *
 * @param signal Aborts when the lock can no longer be trusted (`LeaseLostError`), when BullMQ wants the job to stop
 * (`JobStoppedError`: cancelled, and with `attachWorker` also its job lock lost or its worker closing), when the solo closes
 * (`ClosedError`), and when `maxRunMs` is over (`RunTimeoutError`). Reject when you stop early because of it.
 * @param run The fence, `checkpoint()`, `remainingMs()`, the occurrence and its attempt. `run.signal` is `signal`.
 */
export type SingletonHandler<Data, Result, Name extends string> = (
  job: AnyResultJob<Data, Name>,
  token: string | undefined,
  signal: AbortSignal,
  run: RunContext,
) => Result | Promise<Result>;

/** What BullMQ calls. It counts the parameters, and passes its signal only to functions that have three. */
export type SingletonProcessor<Data, Result, Name extends string> = (
  job: AnyResultJob<Data, Name>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result | SkippedJob>;

/** What a job returns that completes without having been run. Plain JSON, as BullMQ keeps it. */
export interface SkippedJob {
  readonly skipped: true;
  /** The lock's name. */
  readonly lock: string;
  /**
   * `held`: somebody else held the lock, and the policy is to skip. `done`: the occurrence has been run. `superseded`: a later one
   * has been claimed.
   */
  readonly reason: Exclude<SkipReason, 'closed' | 'early' | 'exhausted'>;
  /** Who held the lock, for `held`; since when, as ISO 8601 by the provider's clock. */
  readonly holder?: { readonly host: string; readonly pid: number; readonly label?: string; readonly since: string };
}

/** Whether a job's return value says that it was skipped. */
export function isSkipped(returnvalue: unknown): returnvalue is SkippedJob {
  if (typeof returnvalue !== 'object' || returnvalue === null) return false;
  const { skipped, lock, reason } = returnvalue as Partial<SkippedJob>;
  return skipped === true && typeof lock === 'string' && typeof reason === 'string';
}

/**
 * Wraps a BullMQ processor so that of all jobs with one lock name one runs at a time: over all workers, processes and queues, also
 * when BullMQ hands a job to a second worker while the first still runs it. Works on each of BullMQ's backends, and as the default
 * export of a sandboxed processor's file.
 *
 * - While the lock is busy, `onBusy` decides: the jobs of a job scheduler are skipped, others are put off and come again. Being put
 *   off counts no attempt (`attemptsMade`), keeps no slot of the worker, and ends after `backoff.maxTries` or `backoff.maxAgeMs`:
 *   then the job fails with a `LockBusyError` that names the holder. The job's log says who held the lock at the first try, the
 *   second, the fourth and so on, and is where the tries are counted.
 * - A job whose occurrence lies ahead is put off to its instant.
 * - A job that failed or stalled before is not skipped while its lock is busy, and fails if a later occurrence has been claimed
 *   meanwhile: what did not end well is not to end as completed.
 * - A run whose lock was lost fails with `LeaseLostError`, whatever the processor returned.
 * - A job that is asked to stop because its worker or the solo closes, and rejects, goes back to the queue; no attempt is counted.
 * - `maxStartedAttempts` of a worker counts the starts of jobs that are put off, too; a process warning
 *   (`SOLORUN_MAX_STARTED_ATTEMPTS`) says so once.
 *
 * @throws OptionError; UnsupportedError if the provider keeps no occurrences. The jobs: the processor's own error; LeaseLostError;
 * LockBusyError, LockTimeoutError and ProviderError by policy; UnrecoverableError if all attempts of the occurrence are used up, or if
 * the job failed or stalled before and a later occurrence has been claimed.
 * @example
 * const worker = new Worker('etl', singletonProcessor(solo, { name: (job) => `etl/${job.data.step}` }, runStep), { connection });
 * attachWorker(worker);
 */
export function singletonProcessor<Data, Result, Name extends string = string>(
  solo: Solo,
  options: SingletonOptions<Data, Name>,
  processor: SingletonHandler<Data, Result, Name>,
): SingletonProcessor<Data, Result, Name> {
  const settings = settle(solo, options, processor);

  // Exactly three parameters, none of them optional in JavaScript: see SingletonProcessor.
  return async (job, token, signal) => {
    const out = handOut(job, token, signal);
    try {
      return await handle(solo, settings, processor, out);
    } catch (error) {
      // A job in the process of a sandboxed processor has only some of a job's methods.
      throw 'toJSON' in job ? error : sendable(error);
    } finally {
      out.end();
    }
  };
}

async function handle<Data, Result, Name extends string>(
  solo: Solo,
  settings: Settings<Data, Name>,
  processor: SingletonHandler<Data, Result, Name>,
  out: HandOut<AnyResultJob<Data, Name>>,
): Promise<Result | SkippedJob> {
  const { job, token } = out;
  const name = settings.nameOf(job);
  const onBusy = settings.onBusy ?? (isScheduled(job) ? 'skip' : 'retry');
  const onOutage = settings.onOutage ?? (isScheduled(job) ? 'fail' : 'retry');
  if (onBusy === 'retry' || typeof onBusy === 'function' || typeof settings.occurrence === 'function') {
    warnOfMaxStartedAttempts(job);
  }
  const occurrence = occurrenceAt(settings, job);
  const claim = occurrence === undefined ? {} : { occurrence, attempts: settings.attempts, maxEarlyMs: EARLY_MS };
  const terms = { ...settings.run, ...claim, signal: out.signal };
  let started = false;
  /** Whether the end of its solo or worker had asked the processor to stop by the time it rejected. */
  let stopped = false;

  const isClosing = (): boolean => solo.signal.aborted || out.stoppedFor() === 'closing';

  async function run(policy: BusyPolicy): Promise<Result | SkippedJob> {
    const result = await solo.run(
      name,
      async (context) => {
        started = true;
        try {
          return await processor(job, token, context.signal, context);
        } catch (error) {
          stopped = isClosing();
          throw error;
        }
      },
      // An outage is waited out in the queue, and not in a slot of the worker.
      { ...terms, ...policy, onOutage: 'fail' },
    );
    return result.status === 'ran' ? result.value : notRun(result);
  }

  function later(busy: LockBusyError): Promise<never> {
    return putOff(settings.putOff, out, busy.settling ? SETTLING : heldBy(name, busy.holder), busy);
  }

  function notRun({ reason, holder, settling, retryAt }: Skipped): SkippedJob | Promise<never> {
    if (reason === 'closed')
      return putOff({ ...settings.putOff, ...withoutEnd }, out, 'The solo of its worker is closed', new ClosedError());
    if (settling === true) return later(new LockBusyError(name, holder, undefined, true));
    if (reason === 'early') return putOffUntil(occurrence!, retryAt!.getTime() - Date.now(), out);
    if (reason === 'exhausted') {
      throw new UnrecoverableError(`All attempts of this occurrence of ${quote(name)} were started, and none was completed.`);
    }
    if (reason === 'superseded' && endedBadly(job)) {
      throw new UnrecoverableError(
        `A later occurrence of ${quote(name)} has been claimed, so this one, which failed or stalled before, is not run again.`,
      );
    }
    return skippedJob(name, reason, holder);
  }

  async function decided(action: BusyAction, busy: LockBusyError): Promise<Result | SkippedJob> {
    switch (action) {
      case 'skip':
        // Nobody may have run it, and this is over when the longest lease would be.
        return busy.settling ? later(busy) : skippedJob(name, 'held', busy.holder);
      case 'retry':
        return later(busy);
      case 'wait':
        return run({ onBusy: 'wait', waitMs: settings.waitMs });
      case 'fail':
        throw busy;
      default:
        throw new OptionError(`onBusy of ${quote(name)} decides 'skip', 'retry', 'wait' or 'fail', not ${String(action)}.`);
    }
  }

  async function byPolicy(): Promise<Result | SkippedJob> {
    // Who holds the lock of a job that stalled may be the job's own earlier run, which nobody may complete. And whoever holds that
    // of one that failed does not make up for it.
    if (onBusy === 'skip' && !endedBadly(job)) return run({ onBusy: 'skip' });
    if (onBusy === 'wait') return run({ onBusy: 'wait', waitMs: settings.waitMs });
    try {
      return await run({ onBusy: 'throw' });
    } catch (error) {
      // What the processor rejects with is its own.
      if (started || !(error instanceof LockBusyError)) throw error;
      if (typeof onBusy !== 'function') return decided(onBusy === 'skip' ? 'retry' : onBusy, error);
      return decided(await onBusy(job, error.holder), error);
    }
  }

  try {
    const earlyMs = occurrence instanceof Date ? occurrence.getTime() - Date.now() : 0;
    if (earlyMs > EARLY_MS) return await putOffUntil(occurrence!, earlyMs, out);
    return await byPolicy();
  } catch (error) {
    if (settlesTheJob(error)) {
      if (started) await endSpell(out);
      throw error;
    }
    const lost = error instanceof LeaseLostError;
    // What fails before its run under a solo that is closed would fail again at once: its worker may go on, and fetch what is given back.
    const closing = started ? stopped : out.stoppedFor() === 'closing';
    if (closing && !(started && lost)) return giveBack(out);
    // A lease that is lost before its run began is like a provider that cannot be asked: nothing ran.
    const outage = !started && (lost || error instanceof ProviderError);
    if (outage && onOutage === 'retry') return putOff(settings.putOff, out, error.message, error);
    throw error;
  }
}

/** A solo that is closed is no fault of the job's. */
const withoutEnd = { maxTries: Number.POSITIVE_INFINITY, maxAgeMs: Number.POSITIVE_INFINITY };

/** An occurrence that lies ahead by no more than this is waited for in the worker's slot: clocks are that much apart, in ms. */
const EARLY_MS = 1_000;

function occurrenceAt<Data, Name extends string>(
  { occurrence }: Settings<Data, Name>,
  job: AnyResultJob<Data, Name>,
): Date | undefined {
  return typeof occurrence === 'function' ? occurrence(job) : occurrence === 'scheduled' ? scheduledInstant(job) : undefined;
}

/**
 * Whether an earlier run of the job failed, or may have begun and not ended: also before somebody had it retried with attempts
 * counted anew, after which BullMQ on Redis keeps the stack traces, and on Postgres nothing.
 */
function endedBadly(job: Pick<Job, 'attemptsMade' | 'stalledCounter' | 'stacktrace'>): boolean {
  // In the process of a sandboxed processor it is JSON.
  const stacktrace: unknown = typeof job.stacktrace === 'string' ? JSON.parse(job.stacktrace) : job.stacktrace;
  return job.attemptsMade > 0 || job.stalledCounter > 0 || (Array.isArray(stacktrace) && stacktrace.length > 0);
}

const SETTLING = "the locks' provider has just come back, and waits until leases that it may have forgotten are over";

function skippedJob(lock: string, reason: SkippedJob['reason'], holder: Holder | undefined): SkippedJob {
  if (holder === undefined) return { skipped: true, lock, reason };
  const { host, pid, label, since } = holder;
  const by = { host, pid, ...(label === undefined ? {} : { label }), since: since.toISOString() };
  return { skipped: true, lock, reason, holder: by };
}

function heldBy(lock: string, holder: Holder | undefined): string {
  const name = quote(lock);
  if (holder === undefined) return `${name} is held by somebody else`;
  const { host, pid, label, since } = holder;
  return `${name} is held by ${label === undefined ? '' : `${label}@`}${host} (pid ${pid}) since ${since.toISOString()}`;
}
