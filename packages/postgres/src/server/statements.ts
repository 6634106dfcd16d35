import type { AcquireRequest } from '@solorun/core';
import type { Row } from './client.ts';
import { pauseOfSql } from './pause-statements.ts';
import { lastRunSql, lastRunUnlessUndoneSql } from './run-statements.ts';
import type { Place } from './schema.ts';
import { ms } from './sql.ts';

/**
 * The statements that run on the server: one per verb, each for any number of names at once, so that the questions of one turn cost one
 * round trip. All take one parameter, a JSON array of questions, and give a row each, `ord` being the place in it.
 *
 * Rules that hold for all of them (READ COMMITTED is assumed):
 * - A statement sees the table as it was when it began, and an UPDATE the newest version of each row that it touches. So the conditions
 *   that decide stand in the WHERE of an UPDATE; what is merely read may be old, and is only good for saying why not.
 * - A guarded transaction in progress is never waited for: it may take long, and everything else on this session would wait with
 *   it. With lease rows it has taken its row FOR KEY SHARE: takeovers take it FOR UPDATE and skip what is locked, and a plain UPDATE
 *   (renewal, release) does not disturb it. With session locks it shares a lock of its own (`guard`), which an acquisition needs for
 *   itself, for a moment, and only tries for.
 * - Rows are locked in the order of their names, so that two statements that meet wait for each other once and not crosswise.
 * - `clock_timestamp()` and never `now()`, which stands still within a transaction.
 *
 * This file has what the statements of both providers share; rows/statements.ts and advisory/statements.ts have the rest.
 */
export interface Statements {
  readonly acquire: string;
  readonly renew: string;
  readonly release: string;
  readonly inspect: string;
  readonly list: string;
  readonly watch: string;
  readonly pause: string;
  readonly resume: string;
  readonly pauses: string;
  readonly runs: string;
  readonly reopen: string;
  readonly forget: string;
}

/** The parts of a try beside the lease, as `askedSql` takes them. Undefined parts cost no bytes. */
export interface Wishes {
  readonly at_ms?: number | undefined;
  readonly attempts?: number | undefined;
  readonly hash?: string | undefined;
  /** As JSON. */
  readonly schedule?: string | undefined;
  readonly next_ms?: number | undefined;
  readonly history?: true | undefined;
  /** A pause does not count. */
  readonly unpaused?: true | undefined;
}

export function wishesOf({ occurrence, history, ignorePause }: AcquireRequest): Wishes {
  const { schedule, nextDueAt } = occurrence ?? {};
  return {
    at_ms: occurrence?.at.getTime(),
    attempts: occurrence?.attempts,
    hash: occurrence?.scheduleHash,
    schedule: schedule === undefined ? undefined : JSON.stringify(schedule),
    next_ms: nextDueAt?.getTime(),
    history: history === true ? true : undefined,
    unpaused: ignorePause === true ? true : undefined,
  };
}

/** The parameter of a statement. */
export function questions(asks: readonly object[]): string {
  return JSON.stringify(asks.map((one, ord) => ({ ...one, ord })));
}

/** The rows of an answer, in the order of the questions. */
export function inOrder(rows: readonly Row[], count: number): readonly Row[] {
  const ordered = Array.from<Row | undefined>({ length: count });
  for (const row of rows) ordered[Number(row['ord'])] = row;
  if (rows.length !== count || ordered.includes(undefined)) {
    throw new Error(`the server answered ${rows.length} of ${count} questions`);
  }
  return ordered as Row[];
}

/** When the row `j` is due next. A version before this one claims without telling: what was told before is of the past then. */
export const NEXT_DUE = `CASE WHEN j.occurrence_at IS NULL OR j.next_due_at > j.occurrence_at THEN j.next_due_at END`;

/** The parts of `recordSql` that the two kinds of locks know in different ways. All are about the row `j`. */
export interface RecordParts {
  /** Whether it is held by now. */
  readonly held: string;
  /** When its lease ends, in ms. */
  readonly expires: string;
  /** Whether its run was lost; asked only where it is not held. */
  readonly lost: string;
  /** When it was lost, as far as that is known. */
  readonly over: string;
  /** Its pause in force, as text. */
  readonly pause: string;
}

/**
 * A row as text that no type parser of the user's touches. Fences do not fit into JSON's numbers. Moments as Postgres writes them in JSON
 * cost no function call each; those that are counted with are exact numbers of ms.
 */
export function recordSql({ held, expires, lost, over, pause }: RecordParts): string {
  return `json_build_object('readAt', clock_timestamp(), 'name', j.name, 'held', ${held}, 'owner', j.owner,
    'host', j.host, 'pid', j.pid, 'label', j.label, 'fence', j.fence::text, 'acquiredAt', j.acquired_at,
    'leaseMs', j.lease_ms, 'expiresAt', ${expires}, 'at', ${ms('j.occurrence_at')}, 'state', j.occurrence_state,
    'attempt', j.attempt, 'lastSuccessAt', j.last_success_at, 'lastDurationMs', j.last_duration_ms::numeric,
    'lastError', j.last_error, 'scheduleHash', j.schedule_hash, 'schedule', j.schedule, 'nextDueAt', ${ms(`(${NEXT_DUE})`)},
    'knownSince', j.known_since, 'lost', ${lost}, 'lostAt', ${over}, 'lastFinishedAt', j.last_finished_at,
    'lastOutcome', j.last_outcome, 'lastHost', j.last_run_host, 'lastPid', j.last_run_pid, 'lastLabel', j.last_run_label,
    'lastSince', j.last_run_since, 'paused', ${pause})::text`;
}

/** Whether the try `m` may claim its occurrence of the row `j`. Without an occurrence it may. */
export const CLAIMABLE = `(m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (m.at = j.occurrence_at AND j.occurrence_state <> 'done'
          AND (j.attempt < m.attempts OR j.occurrence_state = 'reopened')))`;

/** The changes that a claim of the try `m` makes to the row `j`, with the state that an undone claim goes back to. */
export const CLAIM = `claimed = m.at IS NOT NULL,
      previous_at = j.occurrence_at, previous_state = j.occurrence_state, previous_attempt = j.attempt,
      attempt = CASE WHEN m.at IS NULL THEN j.attempt WHEN m.at = j.occurrence_at THEN j.attempt + 1 ELSE 1 END,
      occurrence_at = coalesce(m.at, j.occurrence_at),
      occurrence_state = CASE WHEN m.at IS NULL THEN j.occurrence_state ELSE 'claimed' END,
      schedule_hash = coalesce(m.hash, j.schedule_hash), schedule = coalesce(m.schedule, j.schedule),
      next_due_at = CASE WHEN m.at IS NULL THEN j.next_due_at ELSE to_timestamp(m.next_ms / 1000) END,
      keeps_history = coalesce(m.history, false)`;

/** The columns of a row that is made by the claim of the try `m`, beside those of its holder, and their values. */
export const CLAIMED_COLUMNS = `claimed, attempt, occurrence_at, occurrence_state, schedule_hash, schedule, next_due_at, keeps_history`;
export const CLAIMED = `m.at IS NOT NULL, CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END,
      m.hash, m.schedule, to_timestamp(m.next_ms / 1000), coalesce(m.history, false)`;

/** The questions of an acquisition, with the pause in force of each. */
export function askedSql(place: Place): string {
  return `SELECT a.*, to_timestamp(a.at_ms / 1000) AS at, ${pauseOfSql(place, 'a.name')} AS pause
    FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text, pid bigint,
      label text, lease float8, at_ms float8, attempts int, hash text, schedule text, next_ms float8, history boolean, unpaused boolean,
      floor bigint, over_owner text, over_at numeric)`;
}

/** Of the row `j` as it was locked, for `PREVIOUS`. */
export const OPENED: string = `j.schedule_hash, j.schedule, (${NEXT_DUE}) AS due`;

/** The columns of the row `j` before the claim; `o` is the row as it was locked. */
export const PREVIOUS: string = `j.attempt, ${ms('j.previous_at')} AS previous_at, j.previous_state, j.previous_attempt,
      o.schedule_hash AS previous_hash, o.schedule AS previous_schedule, ${ms('o.due')} AS previous_due`;

/** The columns of a grant. */
export const GRANTED =
  'ord, fence, attempt, previous_at, previous_state, previous_attempt, previous_hash, previous_schedule, previous_due';

/** The same, in the columns of an answer. */
export const PREVIOUS_AS_TEXT = `g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text, g.previous_hash,
      g.previous_schedule::text, g.previous_due::text`;

/**
 * The tries `tried` that may be granted by the clock: without an occurrence, or with one that is due, or with another attempt of one that
 * was once due, by a clock that has been set back since.
 */
export function dueSql({ kind, job }: Place): string {
  return `(t.at IS NULL OR t.at <= clock_timestamp()
      OR EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = t.name AND k.occurrence_at = t.at))`;
}

/** Whether no pause is in the way of the question `a`, as `askedSql` gives it. */
export const NOT_PAUSED = '(a.pause IS NULL OR a.unpaused)';
/** The pause in the way of the try `t`, in the columns of an answer. */
export const PAUSED_BY = 'CASE WHEN t.unpaused THEN NULL ELSE t.pause END AS pause';

/** The changes that the end of a run makes to the row `j`. */
export function endSql(result: string, error: string): string {
  const undone = `${result} = 'abandoned'`;
  return `held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND ${undone} THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND ${undone} THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN ${undone} THEN j.previous_state ELSE ${result} END,
      -- An occurrence whose claim is taken back is what is due next, unless this was another attempt of it.
      next_due_at = CASE WHEN j.claimed AND ${undone} AND j.previous_at IS DISTINCT FROM j.occurrence_at AND j.next_due_at IS NOT NULL
        THEN j.occurrence_at ELSE j.next_due_at END,
      last_duration_ms = CASE WHEN ${undone} THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN ${result} = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN ${undone} THEN j.last_error ELSE ${error} END,
      ${lastRunUnlessUndoneSql(result)}`;
}

/** The same of a run that has no occurrence and was not taken back. */
export function endPlainSql(result: string, error: string): string {
  return `held = false, expires_at = NULL, last_duration_ms = date_part('epoch', clock_timestamp() - j.acquired_at) * 1000,
      last_success_at = CASE WHEN ${result} = 'done' THEN clock_timestamp() ELSE j.last_success_at END, last_error = ${error},
      ${lastRunSql(result)}`;
}

/** Waiters that listen for notifications have left word in `watched_until`; no other session is disturbed. */
export function notifySql(channel: string): string {
  return `CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify(${channel}, j.key::text) END`;
}

/** Which names are worth a try; for the others it leaves word that a waiter here listens. */
export function watchSql({ kind, job }: Place, busy: string): string {
  return `WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS a(name text, key bigint)
  ), noted AS (
    UPDATE ${job} j SET watched_until = clock_timestamp() + interval '60 seconds' WHERE j.kind = '${kind}' AND j.name IN (
      SELECT k.name FROM ${job} k JOIN asked a ON k.name = a.name
      WHERE k.kind = '${kind}' AND coalesce(k.watched_until < clock_timestamp() + interval '30 seconds', true)
      FOR NO KEY UPDATE OF k SKIP LOCKED)
  )
  SELECT a.name FROM asked a LEFT JOIN ${job} j ON j.kind = '${kind}' AND j.name = a.name
  WHERE NOT ${busy}`;
}

export function inspectSql({ kind, job }: Place, record: string): string {
  return `SELECT ${record} AS record FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1`;
}

/** A page of 500 records, after the name `$2`. */
export function listSql({ kind, job }: Place, record: string): string {
  return `SELECT j.name, ${record} AS record FROM ${job} j
      WHERE j.kind = '${kind}' AND starts_with(j.name, $1) AND j.name > $2 ORDER BY j.name LIMIT 500`;
}
