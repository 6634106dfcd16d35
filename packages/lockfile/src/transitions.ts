import type { AcquireRequest, OccurrenceState, Outcome } from '@solorun/core';
import type { LockRecord } from './record.ts';
import type { Proof } from './store.ts';

/** The record of an acquisition. @param before of the generation that it follows */
export function nextRecord(
  request: AcquireRequest,
  before: LockRecord | undefined,
  attempt: number,
  now: number,
  proof: Proof,
): LockRecord {
  const { name, owner, holder, leaseMs, occurrence } = request;
  return {
    name,
    state: 'held',
    owner,
    holder,
    acquiredAt: now,
    leaseMs,
    proof,
    claimed: occurrence !== undefined,
    occurrence: occurrence === undefined ? before?.occurrence : { at: occurrence.at, state: 'claimed', attempt },
    previous: before?.occurrence,
    lastStartedAt: now,
    lastSuccessAt: before?.lastSuccessAt,
    lastDurationMs: before?.lastDurationMs,
    lastError: before?.lastError,
    scheduleHash: occurrence?.scheduleHash ?? before?.scheduleHash,
  };
}

/** The record of a held lock once its run has ended. */
export function releasedRecord(record: LockRecord, outcome: Outcome, now: number): LockRecord {
  if (outcome.result === 'abandoned') return { ...record, state: 'released', occurrence: record.previous };
  const occurrence: OccurrenceState | undefined =
    record.claimed && record.occurrence !== undefined ? { ...record.occurrence, state: outcome.result } : record.occurrence;
  return {
    ...record,
    state: 'released',
    occurrence,
    lastSuccessAt: outcome.result === 'done' ? now : record.lastSuccessAt,
    lastDurationMs: Math.max(0, now - record.acquiredAt),
    lastError: outcome.result === 'failed' ? outcome.error : undefined,
  };
}
