import {
  judgeOccurrence,
  type AcquireRequest,
  type Grant,
  type JobRecord,
  type OccurrenceState,
  type Refusal,
} from '@solorun/core';
import { refusalOf } from '@solorun/core/server';
import type { Row } from './client.ts';

/** A row, as `recordSql` writes it. */
interface Stored {
  readonly readAt: number;
  readonly name: string;
  readonly held: boolean;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | null;
  readonly fence: string;
  readonly acquiredAt: number;
  readonly leaseMs: number | null;
  readonly expiresAt: number | null;
  readonly at: number | null;
  readonly state: OccurrenceState['state'] | null;
  readonly attempt: number | null;
  readonly lastSuccessAt: number | null;
  readonly lastDurationMs: number | null;
  readonly lastError: string | null;
  readonly scheduleHash: string | null;
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
    holder: { host: row.host, pid: row.pid, ...(row.label === null ? {} : { label: row.label }), since: acquiredAt },
    fence: BigInt(row.fence),
    acquiredAt,
    expiresAt: row.held ? (row.leaseMs === null ? null : new Date(row.expiresAt!)) : undefined,
    occurrence: occurrenceOf(row.at, row.state, row.attempt),
    lastStartedAt: acquiredAt,
    lastSuccessAt: row.lastSuccessAt === null ? undefined : new Date(row.lastSuccessAt),
    lastDurationMs: row.lastDurationMs ?? undefined,
    lastError: row.lastError ?? undefined,
    scheduleHash: row.scheduleHash ?? undefined,
  };
}

/** All records, page after page. @param page the rows after a name, in order; none at the end */
export async function* recordsIn(page: (after: string) => Promise<readonly Row[]>): AsyncGenerator<JobRecord> {
  for (let after = ''; ;) {
    const rows = await page(after);
    for (const { record } of rows) {
      const parsed = parseRecord(record);
      if (parsed !== undefined) yield parsed;
    }
    const last = rows.at(-1)?.['name'];
    if (last == null) return;
    after = last;
  }
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
    previousScheduleHash: occurrence === undefined ? undefined : (row['previous_hash'] ?? undefined),
    lost,
  };
}

/** Scheduled instants are whole milliseconds, and floating point seconds are not quite. */
function occurrenceOf(
  at: number | null,
  state: OccurrenceState['state'] | null,
  attempt: number | null,
): OccurrenceState | undefined {
  return at === null || state === null ? undefined : { at: new Date(Math.round(at)), state, attempt: attempt ?? 1 };
}

/**
 * Why there is no lease. `undefined`: by what was read it should have been granted, so another session was quicker, or has the row for
 * a moment; worth asking again.
 *
 * @param locked another session holds the lock itself, whatever the record says
 */
export function refusalOfRecord(
  request: AcquireRequest,
  record: JobRecord | undefined,
  nowMs: number,
  locked: boolean,
): Refusal | undefined {
  const held = locked || record?.held === true;
  const verdict = request.occurrence && judgeOccurrence(record?.occurrence, request.occurrence, nowMs, held);
  return refusalOf(verdict, held, record, nowMs);
}
