import type { Row } from './client.ts';
import type { Kind } from './schema.ts';

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

/** A change that must survive a crash does, whatever the default of the role. */
export const FLUSH = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END`;

/** The same, unless the parameter `$2` says that nothing in this statement must survive a crash. */
export const FLUSH_UNLESS_2: string = `CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END`;

/** Exact, as `extra_float_digits` may be set to anything. */
export const ms = (column: string): string => `round((extract(epoch FROM ${column}) * 1000)::numeric, 3)`;

/**
 * A row as text that no type parser of the user's touches. Fences do not fit into JSON's numbers.
 *
 * @param held whether the row `j` is held by now
 * @param expires when its lease ends, in ms
 */
export function recordSql(held: string, expires: string): string {
  return `json_build_object('readAt', ${ms('clock_timestamp()')}, 'name', j.name, 'held', ${held}, 'owner', j.owner,
    'host', j.host, 'pid', j.pid, 'label', j.label, 'fence', j.fence::text, 'acquiredAt', ${ms('j.acquired_at')},
    'leaseMs', j.lease_ms, 'expiresAt', ${expires}, 'at', ${ms('j.occurrence_at')}, 'state', j.occurrence_state,
    'attempt', j.attempt, 'lastSuccessAt', ${ms('j.last_success_at')}, 'lastDurationMs', j.last_duration_ms::numeric,
    'lastError', j.last_error, 'scheduleHash', j.schedule_hash)::text`;
}

/** Whether the try `m` may claim its occurrence of the row `j`. Without an occurrence it may. */
export const CLAIMABLE = `(m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (m.at = j.occurrence_at AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))`;

/** The changes that a claim of the try `m` makes to the row `j`, with the state that an undone claim goes back to. */
export const CLAIM = `claimed = m.at IS NOT NULL,
      previous_at = j.occurrence_at, previous_state = j.occurrence_state, previous_attempt = j.attempt,
      attempt = CASE WHEN m.at IS NULL THEN j.attempt WHEN m.at = j.occurrence_at THEN j.attempt + 1 ELSE 1 END,
      occurrence_at = coalesce(m.at, j.occurrence_at),
      occurrence_state = CASE WHEN m.at IS NULL THEN j.occurrence_state ELSE 'claimed' END,
      schedule_hash = coalesce(m.hash, j.schedule_hash)`;

/** The columns of the row `j` before the claim; `o` is the row as it was locked. */
export const PREVIOUS: string = `j.attempt, ${ms('j.previous_at')} AS previous_at, j.previous_state, j.previous_attempt,
      o.schedule_hash AS previous_hash`;

/** The same, in the columns of an answer. */
export const PREVIOUS_AS_TEXT = `g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text, g.previous_hash`;

/**
 * The tries `tried` that may be granted by the clock: without an occurrence, or with one that is due, or with another attempt of one that
 * was once due, by a clock that has been set back since.
 */
export function dueSql(kind: Kind, job: string): string {
  return `(t.at IS NULL OR t.at <= clock_timestamp()
      OR EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = t.name AND k.occurrence_at = t.at))`;
}

/** The changes that the end of a run makes to the row `j`. */
export function endSql(result: string, error: string): string {
  const undone = `${result} = 'abandoned'`;
  return `held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND ${undone} THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND ${undone} THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN ${undone} THEN j.previous_state ELSE ${result} END,
      last_duration_ms = CASE WHEN ${undone} THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN ${result} = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN ${undone} THEN j.last_error ELSE ${error} END`;
}

/** Waiters that listen for notifications have left word in `watched_until`; no other session is disturbed. */
export function notifySql(channel: string): string {
  return `CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify(${channel}, j.key::text) END`;
}

/** Which names are worth a try; for the others it leaves word that a waiter here listens. */
export function watchSql(kind: Kind, job: string, busy: string): string {
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

export function inspectSql(kind: Kind, job: string, record: string): string {
  return `SELECT ${record} AS record FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1`;
}

/** A page of 500 records, after the name `$2`. */
export function listSql(kind: Kind, job: string, record: string): string {
  return `SELECT j.name, ${record} AS record FROM ${job} j
      WHERE j.kind = '${kind}' AND starts_with(j.name, $1) AND j.name > $2 ORDER BY j.name LIMIT 500`;
}
