import { messageOf } from '@solorun/core';
import { DelayedError, WaitingError, type Job } from 'bullmq';
import { isEnough, putOffMs, type PutOff } from './backoff.ts';
import { hasLogs, isWorthALine, lastLine, remember, spellWith, writeLine, type Kept, type Line } from './spell.ts';

/** A job that is not to run here and now, with the token of its hand-out. */
export interface Handed {
  readonly job: Kept & Pick<Job, 'log' | 'moveToDelayed' | 'moveToWait'>;
  readonly token: string | undefined;
}

/**
 * Puts a job off, and says why in its log. It comes again by itself, and no attempt is counted.
 *
 * @param error The job fails with it once it was put off for long enough.
 */
export async function putOff(backoff: PutOff, { job, token }: Handed, why: string, error: Error): Promise<never> {
  const last = await known(job);
  const readable = hasLogs(job);
  // A process that cannot read the log remembers each try.
  const each = !readable || backoff.maxTries !== Number.POSITIVE_INFINITY;
  const spell = spellWith(job, typeof last === 'object' && 'spell' in last ? last.spell : undefined, each);
  if (isEnough(backoff, spell)) {
    const s = Math.round((Date.now() - spell.since) / 1000);
    await note(job, `${why}: given up at try ${spell.tries}, ${s} s after it was put off first`, 'over');
    throw error;
  }
  // Where the tries of other processes are not known, the delay still grows with the starts of the job.
  const nth = readable ? spell.tries : Math.max(spell.tries, job.attemptsStarted - job.attemptsMade);
  const ms = putOffMs(backoff, nth);
  if (isWorthALine(nth) || (readable && each)) await note(job, `${why}: put off by ${ms} ms`, { spell });
  else remember(job, { spell });
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

/**
 * Puts a job off to the scheduled time of its occurrence. No attempt is counted, and no try.
 *
 * @param earlyMs how far ahead that lies, in ms.
 */
export async function putOffUntil(at: Date, earlyMs: number, { job, token }: Handed): Promise<never> {
  const until = at.getTime();
  const last = await known(job);
  // BullMQ brings it back by the clock of any worker. With a clock that runs ahead by so much, that is at once, over and over.
  const again = typeof last === 'object' && 'until' in last && last.until === until;
  await note(job, 'Its occurrence lies ahead', { until });
  await job.moveToDelayed(Date.now() + Math.ceil(again ? 2 * earlyMs : earlyMs), token);
  throw new DelayedError();
}

/** Puts a job back into the queue for another worker, because this worker closes. No attempt is counted. */
export async function giveBack(handed: Handed): Promise<never> {
  await endSpell(handed);
  await handed.job.moveToWait(handed.token);
  throw new WaitingError();
}

/** For a run that neither completes nor fails its job. A completion and a failure end a spell by themselves. */
export async function endSpell({ job }: Handed): Promise<void> {
  const last = await known(job);
  if (typeof last === 'object' && 'spell' in last) await note(job, 'It got its turn', 'over');
}

const settling: ReadonlySet<string> = new Set([
  'DelayedError',
  'RateLimitError',
  'UnrecoverableError',
  'WaitingChildrenError',
  'WaitingError',
]);

/** Whether a processor decides the fate of its job by this error. BullMQ goes by the name, too. */
export function settlesTheJob(error: unknown): boolean {
  return error instanceof Error && (settling.has(error.name) || error.message === 'bullmq:rateLimitExceeded');
}

/** A log that cannot be read decides nothing: the count starts anew, and the next call about the job shows whether the job still exists. */
async function known(job: Handed['job']): Promise<Line | undefined> {
  try {
    return await lastLine(job);
  } catch (error) {
    warnOfLog('read', job, error);
    return undefined;
  }
}

/** A line that cannot be written decides nothing either. */
async function note(job: Handed['job'], text: string, line: Line): Promise<void> {
  remember(job, line);
  try {
    await job.log(text + writeLine(line));
  } catch (error) {
    warnOfLog('write to', job, error);
  }
}

function warnOfLog(what: string, { id }: Kept, error: unknown): void {
  const why = messageOf(error);
  process.emitWarning(`Cannot ${what} the log of job ${id ?? ''}: ${why}`, { code: 'SOLORUN_JOB_LOG' });
}

const warned = new WeakSet<object>();

/** BullMQ fails a job that was started too often, and each start of a job that is put off counts. `queue` is a private field of a job. */
export function warnOfMaxStartedAttempts(job: object): void {
  const { queue } = job as {
    readonly queue?: { readonly name?: string; readonly opts?: { readonly maxStartedAttempts?: number } };
  };
  const limit = queue?.opts?.maxStartedAttempts;
  if (queue === undefined || !(Number(limit) > 0) || warned.has(queue)) return;
  warned.add(queue);
  process.emitWarning(
    `The worker of ${JSON.stringify(queue.name)} has maxStartedAttempts = ${limit}, and each time that a job is put off counts: ` +
      `after ${limit} of them BullMQ fails the job. Leave it out, or choose onBusy: 'skip', 'wait' or 'fail'.`,
    { code: 'SOLORUN_MAX_STARTED_ATTEMPTS' },
  );
}
