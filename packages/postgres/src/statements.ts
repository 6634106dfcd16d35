import type { Row } from './client.ts';
import { fenceOf, ident, type Kind } from './schema.ts';

/**
 * What runs on the server: one statement per verb, each for any number of names at once, so that what is asked in one turn costs
 * one round trip. All take one parameter, a JSON array of what is asked, and give a row each, `ord` being the place in it.
 *
 * Rules that hold for all of them (READ COMMITTED is assumed):
 * - A statement sees the table as it was when it began, and an UPDATE the newest version of each row that it touches. So whatever
 *   decides stands in the WHERE of an UPDATE; what is merely read may be old, and is only good for telling why not.
 * - Rows that somebody has locked are skipped and not waited for (SKIP LOCKED): that is a guarded transaction in progress, which
 *   may take long, and everything else on this session would wait with it. Guards take FOR KEY SHARE, takeovers FOR UPDATE; a
 *   plain UPDATE (renewal, release) does not disturb a guard.
 * - `clock_timestamp()` and never `now()`, which stands still within a transaction.
 */
export interface Statements {
  readonly acquire: string;
  readonly renew: string;
  readonly release: string;
  readonly inspect: string;
  readonly list: string;
  readonly watch: string;
}

/** What is asked, as the parameter of a statement. */
export function questions(asks: readonly object[]): string {
  return JSON.stringify(asks.map((one, ord) => ({ ...one, ord })));
}

/** The rows of an answer, in the order of what was asked. */
export function inOrder(rows: readonly Row[], count: number): readonly Row[] {
  const ordered = Array.from<Row | undefined>({ length: count });
  for (const row of rows) ordered[Number(row['ord'])] = row;
  if (rows.length !== count || ordered.includes(undefined)) {
    throw new Error(`the server answered ${rows.length} of ${count} questions`);
  }
  return ordered as Row[];
}

export function statementsFor(kind: Kind, schema: string): Statements {
  const job = `${ident(schema)}.job`;
  return {
    acquire: acquireSql(kind, job, schema),
    renew: kind === 'advisory' ? confirmSql(job) : renewSql(job),
    release: releaseSql(kind, job),
    inspect: `SELECT ${recordSql(kind, 'j')} AS record FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1`,
    list: `SELECT j.name, ${recordSql(kind, 'j')} AS record FROM ${job} j
      WHERE j.kind = '${kind}' AND starts_with(j.name, $1) AND j.name > $2 ORDER BY j.name LIMIT 500`,
    watch: watchSql(kind, job),
  };
}

/** The lock with that key is held by somebody, or by that backend. Advisory locks with one key of 64 bits: objsubid 1. */
function lockedSql(key: string, pid?: string): string {
  return `EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((${key} >> 32) & 4294967295)::oid AND l.objid = (${key} & 4294967295)::oid${pid === undefined ? '' : ` AND l.pid = ${pid}`})`;
}

function heldSql(kind: Kind, j: string): string {
  // A dead session leaves its row behind; the lock table knows better.
  if (kind === 'advisory') return `(${j}.held AND ${lockedSql(`${j}.key`, `${j}.backend`)})`;
  return `(${j}.held AND (${j}.expires_at IS NULL OR ${j}.expires_at > clock_timestamp()))`;
}

/** What must survive a crash does, whatever the default of the role. */
const FLUSH = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END`;

/** Exact, as `extra_float_digits` may be set to anything. */
const ms = (column: string): string => `round((extract(epoch FROM ${column}) * 1000)::numeric, 3)`;

/** A row as text that no type parser of the user's touches. Fences do not fit into JSON's numbers. */
function recordSql(kind: Kind, j: string): string {
  const expires =
    kind === 'lease'
      ? ms(`${j}.expires_at`)
      : // The session is kept alive by the holder: from its last word on it counts anew.
        `${ms('clock_timestamp()')} + ${j}.lease_ms`;
  return `json_build_object('readAt', ${ms('clock_timestamp()')}, 'name', ${j}.name, 'held', ${heldSql(kind, j)}, 'owner', ${j}.owner,
    'host', ${j}.host, 'pid', ${j}.pid, 'label', ${j}.label, 'fence', ${j}.fence::text, 'acquiredAt', ${ms(`${j}.acquired_at`)},
    'leaseMs', ${j}.lease_ms, 'expiresAt', ${expires}, 'at', ${ms(`${j}.occurrence_at`)}, 'state', ${j}.occurrence_state,
    'attempt', ${j}.attempt, 'lastSuccessAt', ${ms(`${j}.last_success_at`)}, 'lastDurationMs', ${j}.last_duration_ms::numeric,
    'lastError', ${j}.last_error, 'scheduleHash', ${j}.schedule_hash)::text`;
}

/**
 * Lease and claim in one step. For session locks `mode` says what to do about the lock: 0 only look (somebody here holds it),
 * 1 try, 2 it is ours already (it was waited for).
 *
 * The statement before it that freed the lock has been committed by then: see `releaseSql`. What is got and cannot be claimed
 * (an occurrence that is done, a guard that still holds the row) is given back at once.
 */
function acquireSql(kind: Kind, job: string, schema: string): string {
  const advisory = kind === 'advisory';
  const same = 'm.at = j.occurrence_at';
  const claimable = `(m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (${same} AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))`;
  const free = advisory ? '' : `AND NOT (j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp()))`;
  const expiry = advisory ? 'NULL::timestamptz' : `clock_timestamp() + m.lease * interval '1 millisecond'`;
  const returning = `m.ord, j.fence::text AS fence, j.attempt, ${ms('j.previous_at')} AS previous_at, j.previous_state, j.previous_attempt`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, mode int, owner text, host text, pid bigint,
      label text, lease float8, at_ms float8, attempts int, hash text)
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      ${advisory ? 'CASE a.mode WHEN 1 THEN pg_try_advisory_lock(a.key) WHEN 2 THEN true ELSE false END' : 'true'} AS got,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END AS flush
    FROM asked a
  ), minted AS MATERIALIZED (
    SELECT t.*, ${advisory ? `nextval(${fenceOf(schema)})` : '1::bigint'} AS fence FROM tried t
    WHERE t.got AND (t.at IS NULL OR t.at <= clock_timestamp()
      -- Another attempt of what was once due, by a clock that has been set back since.
      OR EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = t.name AND k.occurrence_at = t.at))
  ), open AS MATERIALIZED (
    SELECT j.name FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = '${kind}' ${advisory ? '' : 'ORDER BY j.name'}
    FOR UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE ${job} j SET
      key = m.key, fence = ${advisory ? 'greatest(m.fence, j.fence + 1)' : 'j.fence + 1'}, owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = ${advisory ? 'pg_backend_pid()' : 'NULL'}, lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = ${expiry},
      held = true, claimed = m.at IS NOT NULL,
      previous_at = j.occurrence_at, previous_state = j.occurrence_state, previous_attempt = j.attempt,
      attempt = CASE WHEN m.at IS NULL THEN j.attempt WHEN ${same} THEN j.attempt + 1 ELSE 1 END,
      occurrence_at = coalesce(m.at, j.occurrence_at),
      occurrence_state = CASE WHEN m.at IS NULL THEN j.occurrence_state ELSE 'claimed' END,
      schedule_hash = coalesce(m.hash, j.schedule_hash)
    FROM minted m
    WHERE j.kind = '${kind}' AND j.name = m.name AND j.name IN (SELECT name FROM open) ${free} AND ${claimable}
    RETURNING ${returning}
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT '${kind}', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, ${advisory ? 'pg_backend_pid()' : 'NULL::integer'}, m.lease,
      clock_timestamp(), ${expiry}, true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = m.name)${advisory ? '' : ' ORDER BY m.name'}
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text,
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    ${advisory ? '(CASE WHEN t.got AND g.ord IS NULL THEN pg_advisory_unlock(t.key) END)::text AS freed,' : ''}
    CASE WHEN j.name IS NOT NULL THEN ${recordSql(kind, 'j')} END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN ${job} j ON j.kind = '${kind}' AND j.name = t.name AND g.ord IS NULL`;
}

/** Session locks live as long as their session does; the rows tell whether an operator has released one. */
function confirmSql(job: string): string {
  return `SELECT a.ord::text, coalesce(j.held AND j.owner = a.owner, false)::text AS ours,
      pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text)
    LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = a.name`;
}

function renewSql(job: string): string {
  return `WITH asked AS MATERIALIZED (
    SELECT a.*, ${FLUSH} AS flush FROM json_to_recordset($1::json) AS a(ord int, name text, owner text)
  ), renewed AS (
    UPDATE ${job} j SET expires_at = clock_timestamp() + j.lease_ms * interval '1 millisecond'
    FROM asked a WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner
      AND j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())
    RETURNING a.ord
  )
  SELECT a.ord::text, (r.ord IS NOT NULL)::text AS ours FROM asked a LEFT JOIN renewed r USING (ord)`;
}

/**
 * Ends leases and records how the runs went. A session lock (`key`) is given back when this statement has been committed and not a
 * moment sooner, for whoever gets it next must see what is written here: the transaction takes the lock once more, so that the
 * session's own hold is not the last one. Waiters that are woken by notifications have left word in `watched_until`.
 */
function releaseSql(kind: Kind, job: string): string {
  const advisory = kind === 'advisory';
  const undone = `a.result = 'abandoned'`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      ${advisory ? 'CASE WHEN a.key IS NOT NULL THEN pg_try_advisory_xact_lock(a.key) END AS kept,' : ''}
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND ${undone} THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND ${undone} THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN ${undone} THEN j.previous_state ELSE a.result END,
      last_duration_ms = CASE WHEN ${undone} THEN j.last_duration_ms ELSE ${ms('(clock_timestamp() - j.acquired_at)')} END,
      last_success_at = CASE WHEN a.result = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN ${undone} THEN j.last_error ELSE a.error END
    FROM asked a WHERE j.kind = '${kind}' AND j.name = a.name AND j.owner = a.owner AND j.held
    RETURNING a.ord, CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify($3, j.key::text) END AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner, false))::text AS ours
    ${advisory ? ', (CASE WHEN a.kept THEN pg_advisory_unlock(a.key) END)::text AS freed' : ''}
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = '${kind}' AND j.name = a.name`;
}

/** Which names are worth a try; and for the others, that somebody here wants to be told. */
function watchSql(kind: Kind, job: string): string {
  const busy = kind === 'advisory' ? lockedSql('a.key') : `coalesce(${heldSql(kind, 'j')}, false)`;
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
