import type { Worker } from 'bullmq';

export interface Step {
  readonly day: string;
  readonly step: string;
}

export async function runStep({ step }: Step, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  return step.length;
}

/** When that many jobs of the worker have completed. */
export function endOfJob(worker: Worker, count: number): Promise<void> {
  let left = count;
  return new Promise((resolve) => worker.on('completed', () => (left -= 1) || resolve()));
}
