import {
  ClosedError,
  LeaseLostError,
  LockBusyError,
  LockPausedError,
  OptionError,
  ProviderError,
  type BusyPolicy,
  type Holder,
  type RunContext,
  type RunOptions,
  type Skipped,
  type Solo,
  quote,
} from '@solorun/core';
import { UnrecoverableError, type Job } from 'bullmq';
import type { HandOut } from './hand-out.ts';
import type { AnyResultJob, BusyAction, Settings } from './options.ts';
import { endSpell, giveBack, putOff, putOffUntil, settlesTheJob, warnOfMaxStartedAttempts } from './put-off.ts';
import { isScheduled, scheduledInstant } from './scheduled.ts';
import { skippedJob, type SkippedJob } from './skipped-job.ts';

/**
 * A BullMQ processor with one parameter more.
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

/** A worker waits in its slot for an occurrence that lies ahead by no more than this: clocks are that much apart, in ms. */
const EARLY_MS = 1_000;

/** A closed solo is no fault of the job, so the job is put off without end. */
const withoutEnd = { maxTries: Number.POSITIVE_INFINITY, maxAgeMs: Number.POSITIVE_INFINITY };

const SETTLING = "the locks' provider has just come back, and waits until leases that it may have forgotten are over";

/** One hand-out of a job to a worker: runs it under its lock, skips it, puts it off, gives it back, or fails it. */
export class JobRun<Data, Result, Name extends string> {
  readonly #solo: Solo;
  readonly #settings: Settings<Data, Name>;
  readonly #processor: SingletonHandler<Data, Result, Name>;
  readonly #out: HandOut<AnyResultJob<Data, Name>>;
  readonly #job: AnyResultJob<Data, Name>;
  /** Of the lock. */
  readonly #name: string;
  readonly #onBusy: NonNullable<Settings<Data, Name>['onBusy']>;
  readonly #onOutage: 'retry' | 'fail';
  readonly #occurrence: Date | undefined;
  readonly #terms: RunOptions;
  /** Whether the processor was called. */
  #started = false;
  /** Whether the end of its solo or worker had asked the processor to stop by the time it rejected. */
  #stopped = false;

  constructor(
    solo: Solo,
    settings: Settings<Data, Name>,
    processor: SingletonHandler<Data, Result, Name>,
    out: HandOut<AnyResultJob<Data, Name>>,
  ) {
    const { job } = out;
    this.#solo = solo;
    this.#settings = settings;
    this.#processor = processor;
    this.#out = out;
    this.#job = job;
    this.#name = settings.nameOf(job);
    this.#onBusy = settings.onBusy ?? (isScheduled(job) ? 'skip' : 'retry');
    this.#onOutage = settings.onOutage ?? (isScheduled(job) ? 'fail' : 'retry');
    if (this.#mayPutOff()) warnOfMaxStartedAttempts(job);
    this.#occurrence = occurrenceAt(settings, job);
    const claim =
      this.#occurrence === undefined ? {} : { occurrence: this.#occurrence, attempts: settings.attempts, maxEarlyMs: EARLY_MS };
    this.#terms = { ...settings.run, ...claim, signal: out.signal };
  }

  async handle(): Promise<Result | SkippedJob> {
    try {
      const at = this.#occurrence;
      const earlyMs = at instanceof Date ? at.getTime() - Date.now() : 0;
      if (earlyMs > EARLY_MS) return await putOffUntil(at!, earlyMs, this.#out);
      return await this.#byPolicy();
    } catch (error) {
      return this.#afterError(error);
    }
  }

  #mayPutOff(): boolean {
    return this.#onBusy === 'retry' || typeof this.#onBusy === 'function' || typeof this.#settings.occurrence === 'function';
  }

  async #byPolicy(): Promise<Result | SkippedJob> {
    const onBusy = this.#onBusy;
    // The holder of the lock of a job that stalled may be the job's own earlier run, which may never complete. And the holder of the
    // lock of a job that failed does not make up for that failure. Neither job is skipped.
    if (onBusy === 'skip' && !endedBadly(this.#job)) return this.#run({ onBusy: 'skip' });
    if (onBusy === 'wait') return this.#run({ onBusy: 'wait', waitMs: this.#settings.waitMs });
    try {
      return await this.#run({ onBusy: 'throw' });
    } catch (error) {
      // A rejection of the processor is the processor's own.
      if (this.#started) throw error;
      if (error instanceof LockPausedError && onBusy !== 'fail') return this.#untilResumed(error);
      if (!(error instanceof LockBusyError)) throw error;
      if (typeof onBusy !== 'function') return this.#decided(onBusy === 'skip' ? 'retry' : onBusy, error);
      return this.#decided(await onBusy(this.#job, error.holder), error);
    }
  }

  async #run(policy: BusyPolicy): Promise<Result | SkippedJob> {
    const result = await this.#solo.run(
      this.#name,
      (context) => this.#process(context),
      // A job waits for the end of an outage in the queue, and not in a slot of the worker.
      { ...this.#terms, ...policy, onOutage: 'fail' },
    );
    return result.status === 'ran' ? result.value : this.#notRun(result);
  }

  async #process(context: RunContext): Promise<Result> {
    this.#started = true;
    try {
      return await this.#processor(this.#job, this.#out.token, context.signal, context);
    } catch (error) {
      this.#stopped = this.#solo.signal.aborted || this.#out.stoppedFor() === 'closing';
      throw error;
    }
  }

  async #decided(action: BusyAction, busy: LockBusyError): Promise<Result | SkippedJob> {
    const name = this.#name;
    switch (action) {
      case 'skip':
        // While the provider settles there may be no holder that runs it, and that is over when the longest lease would be.
        return busy.settling ? this.#later(busy) : skippedJob(name, 'held', busy.holder);
      case 'retry':
        return this.#later(busy);
      case 'wait':
        return this.#run({ onBusy: 'wait', waitMs: this.#settings.waitMs });
      case 'fail':
        throw busy;
      default:
        throw new OptionError(`onBusy of ${quote(name)} decides 'skip', 'retry', 'wait' or 'fail', not ${String(action)}.`);
    }
  }

  #later(busy: LockBusyError): Promise<never> {
    return putOff(this.#settings.putOff, this.#out, busy.settling ? SETTLING : heldBy(this.#name, busy.holder), busy);
  }

  /** A pause is nobody's fault, so the job is put off for as long as it lasts; it may be ended early. */
  #untilResumed(paused: LockPausedError): Promise<never> {
    const why = `${quote(this.#name)} is paused by ${quote(paused.by)} until ${paused.until.toISOString()}`;
    return putOff({ ...this.#settings.putOff, ...withoutEnd }, this.#out, why, paused);
  }

  #notRun({ reason, holder, settling, paused, retryAt }: Skipped): SkippedJob | Promise<never> {
    const name = this.#name;
    if (reason === 'closed') {
      const backoff = { ...this.#settings.putOff, ...withoutEnd };
      return putOff(backoff, this.#out, 'The solo of its worker is closed', new ClosedError());
    }
    if (paused !== undefined && this.#onBusy !== 'skip') return this.#untilResumed(new LockPausedError(name, paused));
    if (settling === true) return this.#later(new LockBusyError(name, holder, undefined, true));
    if (reason === 'early') return putOffUntil(this.#occurrence!, retryAt!.getTime() - Date.now(), this.#out);
    if (reason === 'exhausted') {
      throw new UnrecoverableError(`All attempts of this occurrence of ${quote(name)} were started, and none was completed.`);
    }
    if (reason === 'superseded' && endedBadly(this.#job)) {
      throw new UnrecoverableError(
        `A later occurrence of ${quote(name)} has been claimed, so this one, which failed or stalled before, is not run again.`,
      );
    }
    return skippedJob(name, reason, holder);
  }

  /** @throws what the job fails with, if that is what becomes of it */
  async #afterError(error: unknown): Promise<never> {
    const [started, out] = [this.#started, this.#out];
    if (settlesTheJob(error)) {
      if (started) await endSpell(out);
      throw error;
    }
    const lost = error instanceof LeaseLostError;
    // A job that fails before its run, under a solo that is closed, would fail again at once: its worker may go on, and fetch what is
    // given back.
    const closing = started ? this.#stopped : out.stoppedFor() === 'closing';
    if (closing && !(started && lost)) return giveBack(out);
    // A lease that is lost before its run began is like a provider that cannot be asked: nothing ran.
    const outage = !started && (lost || error instanceof ProviderError);
    if (outage && this.#onOutage === 'retry') return putOff(this.#settings.putOff, out, error.message, error);
    throw error;
  }
}

function occurrenceAt<Data, Name extends string>(
  { occurrence }: Settings<Data, Name>,
  job: AnyResultJob<Data, Name>,
): Date | undefined {
  if (typeof occurrence === 'function') return occurrence(job);
  return occurrence === 'scheduled' ? scheduledInstant(job) : undefined;
}

/**
 * Whether an earlier run of the job failed, or may have begun and not ended. It also counts after a retry with
 * `resetAttemptsMade`, where BullMQ on Redis keeps the stack traces, and on Postgres nothing.
 */
function endedBadly(job: Pick<Job, 'attemptsMade' | 'stalledCounter' | 'stacktrace'>): boolean {
  // In the process of a sandboxed processor it is JSON.
  const stacktrace: unknown = typeof job.stacktrace === 'string' ? JSON.parse(job.stacktrace) : job.stacktrace;
  return job.attemptsMade > 0 || job.stalledCounter > 0 || (Array.isArray(stacktrace) && stacktrace.length > 0);
}

function heldBy(lock: string, holder: Holder | undefined): string {
  const name = quote(lock);
  if (holder === undefined) return `${name} is held by somebody else`;
  const { host, pid, label, since } = holder;
  return `${name} is held by ${label === undefined ? '' : `${label}@`}${host} (pid ${pid}) since ${since.toISOString()}`;
}
