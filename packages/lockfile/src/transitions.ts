import type { AcquireRequest, OccurrenceState, Outcome, RunOutcome } from '@solorun/core';
import type { LockRecord } from './record.ts';
import { shortened, withKeptRun, type KeptRun } from './runs.ts';
import type { Proof } from './store.ts';

/**
 * The record of an acquisition.
 *
 * @param before of the run before, which is over
 * @param follows the generation that it follows, if that is not the one below it by one
 * @param start the floor that its row stands on, as long as that is not proven
 */
export function nextRecord(
  request: AcquireRequest,
  before: LockRecord | undefined,
  attempt: number,
  now: number,
  proof: Proof,
  follows: bigint | undefined,
  start: bigint | undefined,
): LockRecord {
  const { name, owner, holder, leaseMs, occurrence, history } = request;
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
    schedule: occurrence?.schedule ?? before?.schedule,
    nextDueAt: occurrence === undefined ? before?.nextDueAt : occurrence.nextDueAt?.getTime(),
    knownSince: before === undefined ? now : (before.knownSince ?? before.acquiredAt),
    last: before?.last,
    history: history === true && occurrence === undefined ? true : undefined,
    runs: before?.runs,
    follows,
    start,
    others: before?.others,
  };
}

/** The record of a held lock once its run has ended. */
export function releasedRecord(record: LockRecord, fence: bigint, outcome: Outcome, now: number): LockRecord {
  if (outcome.result === 'abandoned') return undone(record);
  const occurrence: OccurrenceState | undefined =
    record.claimed && record.occurrence !== undefined ? { ...record.occurrence, state: outcome.result } : record.occurrence;
  const lastError = outcome.result === 'failed' ? outcome.error : undefined;
  return {
    ...record,
    state: 'released',
    occurrence,
    lastSuccessAt: outcome.result === 'done' ? now : record.lastSuccessAt,
    lastDurationMs: Math.max(0, now - record.acquiredAt),
    lastError,
    last: { finishedAt: now, outcome: outcome.result, by: record.holder, since: record.acquiredAt },
    runs: runsAfter(record, fence, outcome.result, now, lastError),
  };
}

/** A claim is taken back: its occurrence is what is due next, unless this was another attempt of one. */
function undone(record: LockRecord): LockRecord {
  const { claimed, occurrence, previous, nextDueAt } = record;
  const at = occurrence?.at.getTime();
  const isDue = claimed && nextDueAt !== undefined && at !== previous?.at.getTime();
  return { ...record, state: 'released', occurrence: previous, nextDueAt: isDue ? at : nextDueAt };
}

/**
 * What the holder of a lock writes: its row is in order, whatever becomes of the floor. But of a file that has followed nothing, only the
 * floor can tell: it may have been written late, after the lock was forgotten.
 */
export function proven(record: LockRecord, fence: bigint): LockRecord {
  const { start, follows } = record;
  if (start === undefined || (follows === undefined && fence === start + 1n)) return record;
  return { ...record, start: undefined };
}

/** The record of a run that ended without a word. @param lostAt undefined: nobody knows when */
export function lostRecord(record: LockRecord, fence: bigint, lostAt: number | undefined): LockRecord {
  if (record.state === 'released') return record;
  if (record.editing === true) return { ...record, state: 'released', editing: undefined };
  return {
    ...record,
    state: 'released',
    last: { finishedAt: lostAt, outcome: 'lost', by: record.holder, since: record.acquiredAt },
    runs: runsAfter(record, fence, 'lost', lostAt, undefined),
  };
}

/** The runs of a name after this one, if it is to be kept. */
function runsAfter(
  { claimed, history, occurrence, holder, acquiredAt, runs }: LockRecord,
  fence: bigint,
  outcome: RunOutcome,
  finishedAt: number | undefined,
  error: string | undefined,
): readonly KeptRun[] | undefined {
  if (!claimed && history !== true) return runs;
  const attempt = claimed ? (occurrence?.attempt ?? 1) : 1;
  // As a date has it: without fractions.
  const from = Math.floor(acquiredAt);
  return withKeptRun(runs, {
    fence: String(fence),
    ...(claimed && occurrence !== undefined ? { for: occurrence.at.getTime() } : {}),
    ...(attempt === 1 ? {} : { attempt }),
    from,
    ...(finishedAt === undefined ? {} : { took: Math.max(0, Math.floor(finishedAt) - from) }),
    outcome,
    ...(error === undefined ? {} : { error: shortened(error)! }),
    by: holder,
  });
}
