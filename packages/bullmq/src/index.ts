export { attachWorker, type AttachOptions } from './attach-worker.ts';
export { type PutOffOptions } from './backoff.ts';
export { JobStoppedError, type StopCause } from './errors.ts';
export { type SingletonHandler } from './job-run.ts';
export { type AnyResultJob, type BusyAction, type BusyDecision, type BusyOptions, type SingletonOptions } from './options.ts';
export { singletonProcessor, type SingletonProcessor } from './processor.ts';
export { isSkipped, type SkippedJob } from './skipped-job.ts';
