import type { Locks } from '../server/locks.ts';
import { ident } from '../server/schema.ts';
import {
  CLAIM,
  CLAIMABLE,
  dueSql,
  endSql,
  FLUSH_UNLESS_2,
  inspectSql,
  listSql,
  ms,
  notifySql,
  PREVIOUS,
  PREVIOUS_AS_TEXT,
  recordSql,
  watchSql,
  type Statements,
} from '../server/statements.ts';
import { fenceOf } from './beginning.ts';

/** The statements of session locks and their records: see server/statements.ts for the rules that they keep. */
export function statementsFor(schema: string, locks: Locks): Statements {
  const job = `${ident(schema)}.job`;
  const record = recordOf(locks);
  return {
    acquire: acquireSql(job, fenceOf(schema), locks),
    renew: confirmSql(job),
    release: releaseSql(job, locks),
    inspect: inspectSql('advisory', job, record),
    list: listSql('advisory', job, record),
    watch: watchSql('advisory', job, locks.held('a.key')),
  };
}

/** A dead session leaves its row behind; the lock table knows better. */
function heldSql(locks: Locks): string {
  return `(j.held AND ${locks.held('j.key', 'j.backend')})`;
}

function recordOf(locks: Locks): string {
  // The holder keeps the session alive: from the last word of the holder on the lease counts anew.
  return recordSql(heldSql(locks), `${ms('clock_timestamp()')} + j.lease_ms`);
}

/**
 * Lease and claim in one step. `mode` says what to do about the lock: 0 only look (this process holds it, or tried for it in vain), 1 try,
 * 2 this session has it already (it waited for it).
 *
 * The statement before it that freed the lock has been committed by then: see `releaseSql`. The statement gives a lock
 * back at once if nothing can be claimed with it (an occurrence that is done, a transaction that the last holder guarded).
 */
function acquireSql(job: string, fence: string, locks: Locks): string {
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text,
      pid bigint, label text, lease float8, at_ms float8, attempts int, hash text, floor bigint, over_owner text, over_at numeric)
  ), locked AS MATERIALIZED (
    SELECT a.*, CASE a.mode WHEN 1 THEN ${locks.call('pg_try_advisory_lock', 'a.key')} WHEN 2 THEN true ELSE false END AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      CASE WHEN a.locked THEN pg_try_advisory_xact_lock(a.guard) ELSE false END AS got,
      ${FLUSH_UNLESS_2} AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, nextval(${fence}) AS fence FROM tried t
    WHERE t.got AND ${dueSql('advisory', job)}
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, j.schedule_hash FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE ${job} j SET
      key = m.key, fence = greatest(m.fence, j.fence + 1), owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = pg_backend_pid(), lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = NULL::timestamptz,
      held = true, ${CLAIM}
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'advisory' AND j.name = m.name AND ${CLAIMABLE}
    RETURNING m.ord, j.fence::text AS fence, ${PREVIOUS}
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT 'advisory', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, pg_backend_pid(), m.lease,
      clock_timestamp(), NULL::timestamptz, true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, ${PREVIOUS_AS_TEXT},
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    t.locked::text, (CASE WHEN t.locked AND g.ord IS NULL THEN ${locks.call('pg_advisory_unlock', 't.key')} END)::text AS freed,
    CASE WHEN NOT t.locked AND NOT coalesce(${heldSql(locks)}, false) THEN ${sessionSql(locks, 't.key')} END AS session,
    CASE WHEN j.name IS NOT NULL THEN ${recordOf(locks)} END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = t.name AND g.ord IS NULL`;
}

/** The name of the session that holds a lock. The view pg_stat_activity looks at all of them. */
function sessionSql(locks: Locks, key: string): string {
  return `(SELECT a.application_name FROM pg_locks l CROSS JOIN pg_stat_get_activity(l.pid) a WHERE ${locks.at(key)} LIMIT 1)`;
}

/**
 * Session locks live as long as their session does; the rows say whether an operator has released one. A row that has not been written
 * yet says nothing, and one that is gone (`gone`) is written again: the table was emptied, or dropped and made anew.
 */
function confirmSql(job: string): string {
  return `SELECT a.ord::text, (CASE WHEN a.written THEN coalesce(j.held AND j.owner = a.owner, false)
        ELSE NOT coalesce(j.fence = a.fence AND NOT j.held, false) END)::text AS ours, (a.written AND j.name IS NULL)::text AS gone,
      pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, fence bigint, written boolean)
    LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = a.name`;
}

/**
 * Ends leases and records how the runs went. A session lock (`key`) is given back when this statement has been committed and not a
 * moment sooner, for the next holder must see what is written here: the transaction takes the lock once more, so that the
 * session's own hold is not the last one.
 */
function releaseSql(job: string, locks: Locks): string {
  // From elsewhere: the session of that holder may have lost the lock to another one of which the row does not tell yet.
  const gone = `(a.key IS NOT NULL OR j.claimed OR ${locks.held('j.key', 'j.backend')} OR NOT ${locks.held('j.key')})`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      CASE WHEN a.key IS NOT NULL THEN ${locks.call('pg_try_advisory_xact_lock', 'a.key')} END AS kept,
      ${FLUSH_UNLESS_2} AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET ${endSql('a.result', 'a.error')}
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.owner = a.owner AND j.held AND ${gone}
    RETURNING a.ord, ${notifySql('$3')} AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner AND NOT j.held, false))::text AS ours
    , (CASE WHEN a.kept THEN ${locks.call('pg_advisory_unlock', 'a.key')} END)::text AS freed
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = a.name`;
}

/**
 * Writes down who holds session locks, and how runs ended, some time after it happened; what is newer stands. A row for each that is
 * still to be written: another session makes or has locked the row at this moment, and this one has better to do than to wait.
 */
export function recordLocksSql(schema: string): string {
  const job = `${ident(schema)}.job`;
  const ago = (column: string): string => `clock_timestamp() - ${column} * interval '1 millisecond'`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, fence bigint, owner text, host text, pid bigint,
      label text, backend int, lease float8, age float8, held boolean, result text, error text, duration float8, ended float8,
      at_ms float8, attempt int, hash text)
  ), open AS MATERIALIZED (
    SELECT j.name FROM ${job} j JOIN asked a ON j.name = a.name WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), told AS (
    UPDATE ${job} j SET key = a.key, fence = a.fence, owner = a.owner, host = a.host, pid = a.pid, label = a.label, backend = a.backend,
      lease_ms = a.lease, acquired_at = ${ago('a.age')}, held = a.held,
      claimed = j.claimed AND a.at_ms IS NOT NULL,
      last_duration_ms = coalesce(a.duration, j.last_duration_ms),
      last_success_at = CASE WHEN a.result = 'done' THEN ${ago('a.ended')} ELSE j.last_success_at END,
      last_error = CASE a.result WHEN 'done' THEN NULL WHEN 'failed' THEN a.error ELSE j.last_error END
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.name IN (SELECT name FROM open)
      AND (j.fence < a.fence OR (j.fence = a.fence AND j.held))
    RETURNING a.ord, CASE WHEN NOT a.held THEN ${notifySql('$2')} END
  ), late AS (
    UPDATE ${job} j SET last_success_at = ${ago('a.ended')}
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.name IN (SELECT name FROM open)
      AND j.fence > a.fence AND a.result = 'done' AND coalesce(j.last_success_at < ${ago('a.ended')}, true)
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, held, claimed,
      attempt, occurrence_at, occurrence_state, schedule_hash, last_duration_ms, last_success_at, last_error)
    SELECT 'advisory', a.name, a.key, a.fence, a.owner, a.host, a.pid, a.label, a.backend, a.lease, ${ago('a.age')}, a.held,
      a.held AND a.at_ms IS NOT NULL, a.attempt, to_timestamp(a.at_ms / 1000),
      CASE WHEN a.at_ms IS NOT NULL THEN coalesce(CASE WHEN NOT a.held THEN a.result END, 'claimed') END, a.hash, a.duration, CASE WHEN a.result = 'done' THEN ${ago('a.ended')} END, a.error
    FROM asked a WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = a.name) ORDER BY a.name
    ON CONFLICT DO NOTHING
    RETURNING j.name
  )
  SELECT a.ord::text FROM asked a WHERE NOT EXISTS (SELECT FROM told t WHERE t.ord = a.ord)
    AND NOT EXISTS (SELECT FROM born b WHERE b.name = a.name)
    AND NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = a.name AND k.fence >= a.fence)`;
}
