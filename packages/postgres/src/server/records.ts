import {
  judgeOccurrence,
  type AcquireRequest,
  type Grant,
  type Holder,
  type JobRecord,
  type OccurrenceState,
  type Pause,
  type Refusal,
  type RunOutcome,
  type RunRecord,
  type Schedule,
} from '@solorun/core';
import { pauseOf, refusalOf } from '@solorun/core/server';
import type { Row } from './client.ts';

/** A row, as `recordSql` writes it. */
interface Stored {
  readonly readAt: string;
  readonly name: string;
  readonly held: boolean;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | null;
  readonly fence: string;
  readonly acquiredAt: string;
  readonly leaseMs: number | null;
  readonly expiresAt: number | null;
  readonly at: number | null;
  readonly state: OccurrenceState['state'] | null;
  readonly attempt: number | null;
  readonly lastSuccessAt: string | null;
  readonly lastDurationMs: number | null;
  readonly lastError: string | null;
  readonly scheduleHash: string | null;
  readonly schedule: string | null;
  readonly nextDueAt: number | null;
  readonly knownSince: string;
  /** If it is not held: its run was lost. */
  readonly lost: boolean;
  readonly lostAt: string | null;
  readonly lastFinishedAt: string | null;
  readonly lastOutcome: RunOutcome | null;
  readonly lastHost: string | null;
  readonly lastPid: number | null;
  readonly lastLabel: string | null;
  readonly lastSince: string | null;
  /** As `pauseOfSql` writes it. */
  readonly paused: string | null;
}

export function parseRecord(text: string | null | undefined): JobRecord | undefined {
  if (text == null) return undefined;
  const row = JSON.parse(text) as Stored;
  const acquiredAt = new Date(row.acquiredAt);
  return {
    readAt: new Date(row.readAt),
    name: row.name,
    held: row.held,
    owner: row.owner,
    holder: holderOf(row.host, row.pid, row.label, acquiredAt),
    fence: BigInt(row.fence),
    acquiredAt,
    expiresAt: row.held ? (row.leaseMs === null ? null : new Date(row.expiresAt!)) : undefined,
    occurrence: occurrenceOf(row.at, row.state, row.attempt),
    lastStartedAt: acquiredAt,
    lastSuccessAt: dateOf(row.lastSuccessAt),
    lastDurationMs: row.lastDurationMs ?? undefined,
    lastError: row.lastError ?? undefined,
    scheduleHash: row.scheduleHash ?? undefined,
    schedule: row.schedule === null ? undefined : (JSON.parse(row.schedule) as Schedule),
    nextDueAt: instantOf(row.nextDueAt),
    knownSince: new Date(row.knownSince),
    ...lastRunOf(row),
    leaseMs: row.leaseMs,
    paused: parsePause(row.paused),
  };
}

type LastRun = Pick<JobRecord, 'lastFinishedAt' | 'lastOutcome' | 'lastRunBy'>;

/** The clocks of a row may differ by this, in ms: the ledger reckons back to what happened. */
const SKEW_MS = 1_000;

/**
 * How the last run went that is over. A version before this one writes `last_success_at` and `last_error` alone: where those tell of
 * more than the rest does, the rest is of an earlier run.
 */
function lastRunOf(row: Stored): LastRun {
  const { held, lastOutcome } = row;
  const acquiredAt = new Date(row.acquiredAt);
  const current = holderOf(row.host, row.pid, row.label, acquiredAt);
  if (row.lost && !held) return { lastFinishedAt: dateOf(row.lostAt), lastOutcome: 'lost', lastRunBy: current };
  const succeeded = dateOf(row.lastSuccessAt);
  const told = dateOf(row.lastFinishedAt ?? row.lastSince)?.getTime() ?? Number.NEGATIVE_INFINITY;
  const isBehind = succeeded !== undefined && succeeded.getTime() > told + SKEW_MS;
  if (row.lastError !== null && (isBehind || lastOutcome === null || lastOutcome === 'done')) {
    return { lastFinishedAt: undefined, lastOutcome: 'failed', lastRunBy: undefined };
  }
  if (isBehind) {
    const isItsOwn = !held && succeeded >= acquiredAt;
    return { lastFinishedAt: succeeded, lastOutcome: 'done', lastRunBy: isItsOwn ? current : undefined };
  }
  const { lastHost, lastPid, lastSince } = row;
  const isKnown = lastHost !== null && lastPid !== null && lastSince !== null;
  return {
    lastFinishedAt: dateOf(row.lastFinishedAt),
    lastOutcome: lastOutcome ?? undefined,
    lastRunBy: isKnown ? holderOf(lastHost, lastPid, row.lastLabel, new Date(lastSince)) : undefined,
  };
}

function holderOf(host: string, pid: number, label: string | null, since: Date): Holder {
  return { host, pid, ...(label === null ? {} : { label }), since };
}

/** @param moment as Postgres writes it in JSON */
function dateOf(moment: string | null): Date | undefined {
  return moment === null ? undefined : new Date(moment);
}

/** Scheduled instants are whole milliseconds, and floating point seconds are not quite. */
function instantOf(ms: number | null): Date | undefined {
  return ms === null ? undefined : new Date(Math.round(ms));
}

/** A pause, as `pauseOfSql` writes it. */
export function parsePause(text: string | null | undefined): Pause | undefined {
  if (text == null) return undefined;
  const { until, by, note } = JSON.parse(text) as { readonly until: number; readonly by: string; readonly note: string | null };
  return pauseOf({ until: new Date(until), by, note: note ?? undefined }, 0);
}

/** A run, as `runsSql` writes it. */
interface StoredRun {
  readonly fence: string;
  readonly at: number | null;
  readonly attempt: number;
  readonly host: string;
  readonly pid: number;
  readonly label: string | null;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly outcome: RunOutcome;
  readonly error: string | null;
}

export function parseRun(text: string): RunRecord {
  const { fence, at, attempt, host, pid, label, startedAt, finishedAt, outcome, error } = JSON.parse(text) as StoredRun;
  return {
    fence: BigInt(fence),
    occurrence: instantOf(at),
    attempt,
    holder: { host, pid, ...(label === null ? {} : { label }) },
    startedAt: new Date(startedAt),
    finishedAt: dateOf(finishedAt),
    outcome,
    error: error ?? undefined,
  };
}

/** A lease row as it was read: which lease it is, and when it ends by the server's clock, in ms. */
export interface LeaseSeen {
  readonly owner: string;
  readonly expiresAt: number;
  readonly leaseMs: number;
}

/** The lease that keeps others out, to the µs; undefined if none does. */
export function leaseSeen(text: string | null | undefined): LeaseSeen | undefined {
  if (text == null) return undefined;
  const { held, owner, expiresAt, leaseMs } = JSON.parse(text) as Stored;
  return held && expiresAt !== null && leaseMs !== null ? { owner, expiresAt, leaseMs } : undefined;
}

/** The grant in a row of `acquire`. */
export function grantOf(request: AcquireRequest, row: Row, lost?: AbortSignal): Grant {
  const { name, owner, occurrence } = request;
  const at = row['previous_at'];
  const state = row['previous_state'] as OccurrenceState['state'] | null;
  return {
    name,
    owner,
    fence: BigInt(row['fence']!),
    attempt: occurrence === undefined ? 1 : Number(row['attempt'] ?? 1),
    previous: occurrenceOf(at == null ? null : Number(at), state, Number(row['previous_attempt'])),
    ...(occurrence === undefined ? {} : scheduleBefore(row)),
    lost,
  };
}

/** The schedule that the row knew before, and when it was due. */
function scheduleBefore(row: Row): Pick<Grant, 'previousScheduleHash' | 'previousSchedule' | 'previousNextDueAt'> {
  const { previous_hash: hash, previous_schedule: schedule, previous_due: due } = row;
  return {
    previousScheduleHash: hash ?? undefined,
    previousSchedule: schedule == null ? undefined : (JSON.parse(schedule) as Schedule),
    previousNextDueAt: due == null ? undefined : new Date(Number(due)),
  };
}

export function occurrenceOf(
  at: number | null,
  state: OccurrenceState['state'] | null,
  attempt: number | null,
): OccurrenceState | undefined {
  const instant = instantOf(at);
  return instant === undefined || state === null ? undefined : { at: instant, state, attempt: attempt ?? 1 };
}

/**
 * Why there is no lease. `undefined`: by what was read it should have been granted, so another session was quicker, or has the row for
 * a moment; worth asking again.
 *
 * @param row of `acquire`
 * @param locked another session holds the lock itself, whatever the record says
 */
export function refusalOfRow(request: AcquireRequest, row: Row, locked: boolean): Refusal | undefined {
  const record = parseRecord(row['record']);
  const pause = parsePause(row['pause']);
  const nowMs = Number(row['now']);
  const held = locked || record?.held === true;
  const verdict = request.occurrence && judgeOccurrence(record?.occurrence, request.occurrence, nowMs, held);
  return refusalOf(verdict, held, record, nowMs, undefined, pause);
}
