export { attachWorker, type AttachOptions } from './attach-worker.ts';
export { type PutOffOptions } from './backoff.ts';
export { JobStoppedError, type StopCause } from './errors.ts';
export { type AnyResultJob, type BusyAction, type BusyDecision, type BusyOptions, type SingletonOptions } from './options.ts';
export { isSkipped, singletonProcessor, type SingletonHandler, type SingletonProcessor, type SkippedJob } from './processor.ts';
