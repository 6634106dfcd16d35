import { forgetSql } from '../server/forget-statement.ts';
import type { Locks } from '../server/locks.ts';
import { pauseOfSql, pauseSql, pausesSql, resumeSql } from '../server/pause-statements.ts';
import { countRunSql, endedRunSql, keepRunsSql, LOST_RUN, lostRunSql, reopenSql, runsSql } from '../server/run-statements.ts';
import { placeOf, type Place } from '../server/schema.ts';
import { FLUSH_UNLESS_2, ms } from '../server/sql.ts';
import {
  askedSql,
  CLAIM,
  CLAIMABLE,
  CLAIMED,
  CLAIMED_COLUMNS,
  dueSql,
  endSql,
  GRANTED,
  inspectSql,
  listSql,
  NOT_PAUSED,
  notifySql,
  OPENED,
  PAUSED_BY,
  PREVIOUS,
  PREVIOUS_AS_TEXT,
  recordSql,
  watchSql,
  type Statements,
} from '../server/statements.ts';

/** The statements of session locks and their records: see server/statements.ts for the rules that they keep. */
export function statementsFor(schema: string, locks: Locks): Statements {
  const place = placeOf('advisory', schema);
  const held = heldSql(locks);
  // The holder keeps the session alive: from the last word of the holder on the lease counts anew.
  const expires = `${ms('clock_timestamp()')} + j.lease_ms`;
  const parts = { held, expires, lost: LOST, over: UNKNOWN };
  const record = recordSql({ ...parts, pause: pauseOfSql(place, 'j.name') });
  const lost = `(${LOST} AND NOT ${locks.held('j.key')})`;
  return {
    acquire: acquireSql(place, locks, recordSql({ ...parts, pause: 't.pause' })),
    renew: confirmSql(place.job),
    release: releaseSql(place, locks),
    inspect: inspectSql(place, record),
    list: listSql(place, record),
    watch: watchSql(place, locks.held('a.key')),
    pause: pauseSql(place),
    resume: resumeSql(place),
    pauses: pausesSql(place),
    runs: runsSql(place, lost, UNKNOWN),
    reopen: reopenSql(place, `NOT ${locks.held('j.key')}`, lost, UNKNOWN),
    forget: forgetSql(place, freeSql(place, locks)),
  };
}

/** A dead session leaves its row behind; the lock table knows better. */
function heldSql(locks: Locks): string {
  return `(j.held AND ${locks.held('j.key', 'j.backend')})`;
}

/**
 * Whether the run of a row was lost whose lock is free. The end of a run that is kept is written before its lock is given back. The ledger
 * writes the end of any other run a moment later, so that one was lost only if its session is gone.
 */
export const LOST = '(j.held AND (j.claimed OR j.keeps_history OR NOT EXISTS (SELECT FROM pg_stat_get_activity(j.backend))))';
/** Nobody knows when a session ended. */
export const UNKNOWN = 'NULL::timestamptz';

/** A fence that is ahead of the sequence, as in a backup that was restored beside, is one that could be handed out again. */
function freeSql({ fence }: Place, locks: Locks): string {
  return `NOT ${locks.held('j.key')} AND j.fence <= pg_sequence_last_value(${fence})`;
}

/**
 * Lease and claim in one step. `mode` says what to do about the lock: 0 only look (this process holds it, or tried for it in vain), 1 try,
 * 2 this session has it already (it waited for it).
 *
 * The statement before it that freed the lock has been committed by then: see `releaseSql`. The statement gives a lock
 * back at once if nothing can be claimed with it (a name that is paused, an occurrence that is done, a transaction that the last holder
 * guarded).
 */
function acquireSql(place: Place, locks: Locks, record: string): string {
  const { job, fence } = place;
  return `WITH asked AS MATERIALIZED (
    ${askedSql(place)}
  ), locked AS MATERIALIZED (
    SELECT a.*, CASE WHEN a.mode = 2 THEN true WHEN a.mode = 1 AND ${NOT_PAUSED} THEN ${locks.call('pg_try_advisory_lock', 'a.key')}
      ELSE false END AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, CASE WHEN a.locked AND ${NOT_PAUSED} THEN pg_try_advisory_xact_lock(a.guard) ELSE false END AS got,
      ${FLUSH_UNLESS_2} AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, nextval(${fence}) AS fence FROM tried t
    WHERE t.got AND ${dueSql(place)}
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, ${OPENED}, ${lostRunSql(LOST, UNKNOWN)}
    FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE ${job} j SET
      key = m.key, fence = greatest(m.fence, j.fence + 1), owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = pg_backend_pid(), lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = NULL::timestamptz,
      held = true, ${CLAIM},
      ${LOST_RUN}
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'advisory' AND j.name = m.name AND ${CLAIMABLE}
    RETURNING m.ord, j.fence::text AS fence, ${PREVIOUS}, o.*
  ), kept AS (
    ${keepRunsSql(place, 'taken')}
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      ${CLAIMED_COLUMNS})
    SELECT 'advisory', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, pg_backend_pid(), m.lease,
      clock_timestamp(), NULL::timestamptz, true, ${CLAIMED}
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT ${GRANTED} FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, ${PREVIOUS_AS_TEXT}, ${PAUSED_BY},
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    t.locked::text, (CASE WHEN t.locked AND g.ord IS NULL THEN ${locks.call('pg_advisory_unlock', 't.key')} END)::text AS freed,
    CASE WHEN NOT t.locked AND NOT coalesce(${heldSql(locks)}, false) THEN ${sessionSql(locks, 't.key')} END AS session,
    CASE WHEN j.name IS NOT NULL THEN ${record} END AS record
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
function releaseSql(place: Place, locks: Locks): string {
  const { job } = place;
  // From elsewhere: the session of that holder may have lost the lock to another one of which the row does not tell yet.
  const gone = `(a.key IS NOT NULL OR j.claimed OR ${locks.held('j.key', 'j.backend')} OR NOT ${locks.held('j.key')})`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      CASE WHEN a.key IS NOT NULL THEN ${locks.call('pg_try_advisory_xact_lock', 'a.key')} END AS kept,
      ${FLUSH_UNLESS_2} AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET ${endSql('a.result', 'a.error')}, ${countRunSql('a.result')}
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.owner = a.owner AND j.held AND ${gone}
    RETURNING a.ord, ${endedRunSql('a.result')}, ${notifySql('$3')} AS told
  ), kept AS (
    ${keepRunsSql(place, 'ended')}
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner AND NOT j.held, false))::text AS ours
    , (CASE WHEN a.kept THEN ${locks.call('pg_advisory_unlock', 'a.key')} END)::text AS freed
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = a.name`;
}
