import type { JobRecord } from '@solorun/core';
import { duration } from './duration.ts';
import { holderOf, plain } from './show.ts';

/** When a job counts as not well. Times are in ms. */
export interface HealthTerms {
  /** So long after it was due. */
  readonly lateMs: number;
  /** So long after its last success. */
  readonly maxAgeMs?: number | undefined;
  /** So long after it was first locked, where it has never had a success. @default maxAgeMs */
  readonly allowNewMs?: number | undefined;
  /** So long into one run. */
  readonly maxRunMs?: number | undefined;
}

export interface Health {
  /** `paused`: nothing is expected of it. */
  readonly state: 'ok' | 'paused' | 'bad';
  /** What is wrong, or how it is, in a few words each. */
  readonly says: readonly string[];
}

/** How a job is, by the clock of its store. */
export function healthOf(record: JobRecord, terms: HealthTerms): Health {
  const { paused, readAt } = record;
  if (paused !== undefined) {
    const { until, by } = paused;
    return { state: 'paused', says: [`paused by ${plain(by)} for another ${duration(until.getTime() - readAt.getTime())}`] };
  }
  const wrong = [lateness(record, terms), age(record, terms), endOfLastRun(record), length(record, terms)].filter(
    (each) => each !== undefined,
  );
  return wrong.length > 0 ? { state: 'bad', says: wrong } : { state: 'ok', says: [wellness(record)] };
}

/** For how long the job has been overdue, in ms; undefined: it is not, or nobody knows when it is due. */
export function overdueMs({ nextDueAt, readAt }: JobRecord): number | undefined {
  const ms = nextDueAt === undefined ? 0 : readAt.getTime() - nextDueAt.getTime();
  return ms > 0 ? ms : undefined;
}

function lateness(record: JobRecord, { lateMs }: HealthTerms): string | undefined {
  const overdue = overdueMs(record);
  return overdue === undefined || overdue <= lateMs ? undefined : `late by ${duration(overdue)}`;
}

function age(record: JobRecord, { maxAgeMs, allowNewMs = maxAgeMs }: HealthTerms): string | undefined {
  const { readAt, lastSuccessAt, knownSince, acquiredAt } = record;
  if (maxAgeMs === undefined) return undefined;
  if (lastSuccessAt === undefined) {
    const known = readAt.getTime() - (knownSince ?? acquiredAt).getTime();
    return known <= (allowNewMs ?? maxAgeMs) ? undefined : `no success since it was first locked, ${duration(known)} ago`;
  }
  const ms = readAt.getTime() - lastSuccessAt.getTime();
  return ms <= maxAgeMs ? undefined : `no success for ${duration(ms)}`;
}

function endOfLastRun({ held, lastOutcome, lastError }: JobRecord): string | undefined {
  // What runs now may mend it.
  if (held) return undefined;
  if (lastOutcome === 'lost') return 'its last run was lost: it crashed, or was cut off';
  return lastOutcome === 'failed' ? `its last run failed${lastError === undefined ? '' : `: ${plain(lastError)}`}` : undefined;
}

function length({ held, acquiredAt, readAt, holder }: JobRecord, { maxRunMs }: HealthTerms): string | undefined {
  const ms = readAt.getTime() - acquiredAt.getTime();
  return !held || maxRunMs === undefined || ms <= maxRunMs ? undefined : `has run for ${duration(ms)} on ${holderOf(holder)}`;
}

function wellness({ held, holder, lastSuccessAt, readAt }: JobRecord): string {
  if (held) return `running on ${holderOf(holder)}`;
  return lastSuccessAt === undefined
    ? 'no run yet'
    : `last success ${duration(Math.max(0, readAt.getTime() - lastSuccessAt.getTime()))} ago`;
}
