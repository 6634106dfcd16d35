import { messageOf, SolorunError } from '@solorun/core';

/**
 * Why a job was asked to stop.
 * - `lock lost`: its worker no longer holds BullMQ's lock on it, so another worker may have been handed it;
 * - `closing`: its worker is being closed;
 * - `cancelled`: the program called `worker.cancelJob()` or `worker.cancelAllJobs()`.
 */
export type StopCause = 'lock lost' | 'closing' | 'cancelled';

const words: Record<StopCause, string> = {
  'lock lost': "its worker no longer holds BullMQ's lock on it, so another worker may have been handed it",
  closing: 'its worker is being closed',
  cancelled: 'it was cancelled',
};

/**
 * BullMQ wants a job to stop. It is the reason of the processor's signal, and `checkpoint()` throws it. Where the job was
 * `cancelled`, `cause` is the reason that was passed to `worker.cancelJob()`.
 */
export class JobStoppedError extends SolorunError {
  /** The job's id. */
  readonly job: string | undefined;
  readonly reason: StopCause;

  constructor(job: string | undefined, reason: StopCause, options?: ErrorOptions) {
    const why = wordsOf(options?.cause) ?? words[reason];
    super('SOLORUN_JOB_STOPPED', `Job ${job ?? 'without an id'} was asked to stop: ${why}.`, options);
    this.job = job;
    this.reason = reason;
  }
}

function wordsOf(cause: unknown): string | undefined {
  const said = cause instanceof Error ? cause.message : cause;
  return typeof said === 'string' && said !== '' ? said : undefined;
}

/**
 * An error as the process of a sandboxed processor can send it to its worker: everything that it carries, as far as JSON can hold it.
 *
 * BullMQ turns an error into JSON itself, without the errors inside it. A value that JSON cannot hold (a fence is a bigint) would end
 * that process and leave the job without its error.
 */
export function sendable(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const asJson = jsonIn(error);
  const { name, message, stack } = error;
  const sent: Record<string, unknown> = { name, stack };
  for (const property of Object.getOwnPropertyNames(error)) sent[property] = asJson(() => error[property as keyof Error]);
  return Object.assign(new Error(message), sent);
}

/** As BullMQ does with the properties of an error: an object that was seen before is `[Circular]`. */
function jsonIn(root: Error): (read: () => unknown) => unknown {
  const seen = new WeakSet<object>([root]);
  const keep = (_: string, value: unknown): unknown => {
    if (typeof value === 'bigint') return String(value);
    if (typeof value !== 'object' || value === null) return value;
    if (seen.has(value)) return '[Circular]';
    seen.add(value);
    return value instanceof Error ? propertiesOf(value) : value;
  };
  return (read) => {
    try {
      const json = JSON.stringify(read(), keep) as string | undefined;
      return json === undefined ? undefined : JSON.parse(json);
    } catch (error) {
      // A getter or a toJSON throws, or there are more levels than the stack holds. One such property must not hide the others.
      return `[not sent: ${messageOf(error)}]`;
    }
  };
}

/** JSON.stringify leaves out an error's name and message. */
function propertiesOf(error: Error): Record<string, unknown> {
  const { name, message } = error;
  const names = Object.getOwnPropertyNames(error);
  return { name, message, ...Object.fromEntries(names.map((property) => [property, error[property as keyof Error]])) };
}
