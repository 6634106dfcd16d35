import type { JobRecord } from '@solorun/core';
import { holderSince, type LockRecord } from './record.ts';

/** The record as the contract has it. `expiresAt`: undefined when the lock is not held. */
export function jobRecord(record: LockRecord, fence: bigint, expiresAt: Date | null | undefined, readAt: number): JobRecord {
  const { last } = record;
  return {
    readAt: new Date(readAt),
    name: record.name,
    held: expiresAt !== undefined,
    owner: record.owner,
    holder: holderSince(record.holder, record.acquiredAt),
    fence,
    acquiredAt: new Date(record.acquiredAt),
    expiresAt,
    occurrence: record.occurrence,
    lastStartedAt: dateOf(record.lastStartedAt),
    lastSuccessAt: dateOf(record.lastSuccessAt),
    lastDurationMs: record.lastDurationMs,
    lastError: record.lastError,
    scheduleHash: record.scheduleHash,
    schedule: record.schedule,
    nextDueAt: dateOf(record.nextDueAt),
    knownSince: new Date(record.knownSince ?? record.acquiredAt),
    lastFinishedAt: dateOf(last?.finishedAt),
    lastOutcome: last?.outcome,
    lastRunBy: last && holderSince(last.by, last.since),
    leaseMs: record.leaseMs,
  };
}

function dateOf(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms);
}
