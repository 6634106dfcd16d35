export { type BackoffOptions } from './backoff.ts';
export { MAX_NAME_LENGTH } from './checks.ts';
export { closeOnSignals, type CloseOnSignalsOptions } from './close-on-signals.ts';
export { createSuspendAwareClock, processClock, type Clock } from './clock.ts';
export { type Election, type ElectOptions } from './elect.ts';
export {
  ClosedError,
  CloseTimeoutError,
  LeaseLostError,
  LockBusyError,
  LockPausedError,
  LockTimeoutError,
  messageOf,
  NotReadyError,
  OptionError,
  ProviderError,
  quote,
  RunTimeoutError,
  SolorunError,
  UnsupportedError,
  type LossReason,
} from './errors.ts';
export { type LogLevel } from './event-lines.ts';
export { type SkipReason, type SoloEventName, type SoloEvents } from './events.ts';
export { type Explanation, type GuaranteeInUse } from './explain.ts';
export { type Finding } from './finding.ts';
export { type Term } from './leadership.ts';
export { trustedUntil, type Lease, type Occurrence } from './lease.ts';
export { logEvents, type EventLogger, type LogEventsOptions } from './log-events.ts';
export { type MissedOccurrence, type TimesBetween } from './missed.ts';
export { intervalOccurrence, judgeOccurrence, type OccurrenceVerdict } from './occurrence.ts';
export { createSolo } from './open-solo.ts';
export {
  type BusyPolicy,
  type LeaseOptions,
  type OccurrenceOptions,
  type OutageOptions,
  type RunOptions,
  type SoloOptions,
  type WatchOptions,
} from './options.ts';
export { pingUrl, type PingOptions } from './ping-url.ts';
export {
  type AcquireRequest,
  type AcquireResult,
  type ForgetTerms,
  type Grant,
  type Guarantees,
  type Holder,
  type Identity,
  type JobRecord,
  type LockProvider,
  type NamedPause,
  type OccurrenceRequest,
  type OccurrenceState,
  type Outcome,
  type Pause,
  type PauseTerms,
  type Refusal,
  type RunOutcome,
  type RunRecord,
  type Schedule,
} from './provider.ts';
export { warnUnlessReady } from './ready.ts';
export { type EndedRun, type RunEndHook, type RunHook, type StartedRun } from './run-hooks.ts';
export { type Handler, type Ran, type RunContext, type RunResult, type Skipped } from './run.ts';
export { sentryMonitor, type SentryCheckIns, type SentryMonitorOptions } from './sentry-monitor.ts';
export {
  type AcquireOptions,
  type Claim,
  type ClaimOptions,
  type CloseOptions,
  type ForceReleaseOptions,
  type ListOptions,
  type PauseOptions,
  type PruneOptions,
  type ReadyOptions,
  type Solo,
} from './solo.ts';
