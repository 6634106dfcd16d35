import type { Job } from 'bullmq';
import { JobStoppedError, type StopCause } from './errors.ts';

/** A job that a worker was handed, for as long as its processor runs here. */
export interface HandOut<J = Pick<Job, 'id'>> {
  readonly job: J;
  /** Names the hand-out, and so BullMQ's lock on the job. */
  readonly token: string | undefined;
  /** Aborts when BullMQ or `attachWorker` wants the job to stop. The reason is a `JobStoppedError`. */
  readonly signal: AbortSignal;
  stop(cause: StopCause): void;
  stoppedFor(): StopCause | undefined;
  end(): void;
}

const handOuts = new Set<HandOut>();

/** The hand-outs of this kind whose processors run in this process. */
export function running(which: (out: HandOut) => boolean): HandOut[] {
  const found: HandOut[] = [];
  for (const each of handOuts) if (which(each)) found.push(each);
  return found;
}

/**
 * @param token undefined: a framework called the processor without it. BullMQ keeps it on the job, too.
 * @param bullmq undefined: BullMQ passes its signal only to functions that have three parameters.
 */
export function handOut<J extends Pick<Job, 'id' | 'token'>>(
  job: J,
  token: string | undefined = job.token,
  bullmq?: AbortSignal,
): HandOut<J> {
  const controller = new AbortController();
  let stopped: JobStoppedError | undefined;
  const stop = (error: JobStoppedError): void => {
    stopped ??= error;
    controller.abort(stopped);
  };
  const onAbort = (): void => stop(errorFor(job.id, bullmq?.reason));
  const entry: HandOut<J> = {
    job,
    token,
    signal: controller.signal,
    stop: (cause) => stop(new JobStoppedError(job.id, cause)),
    stoppedFor: () => stopped?.reason,
    end() {
      handOuts.delete(entry);
      bullmq?.removeEventListener('abort', onAbort);
    },
  };
  handOuts.add(entry);
  if (bullmq?.aborted === true) onAbort();
  else bullmq?.addEventListener('abort', onAbort, { once: true });
  return entry;
}

/** The reason for `worker.cancelJob()`: a string, because it crosses to the process of a sandboxed processor as JSON. */
export const stopWord = (cause: StopCause): string => `solorun: ${cause}`;

/** BullMQ passes on the reason that `cancelJob()` got: usually a string, often nothing. */
function errorFor(id: string | undefined, reason: unknown): JobStoppedError {
  const cause = (['lock lost', 'closing'] as const).find((each) => reason === stopWord(each));
  if (cause !== undefined) return new JobStoppedError(id, cause);
  return new JobStoppedError(id, 'cancelled', isNothing(reason) ? undefined : { cause: reason });
}

/** Whether this is the reason of a signal that was aborted without one, here and after its way as JSON. */
function isNothing(reason: unknown): boolean {
  if (reason instanceof Error) return reason instanceof DOMException && reason.name === 'AbortError';
  return reason === undefined || (typeof reason === 'object' && reason !== null && JSON.stringify(reason) === '{}');
}
