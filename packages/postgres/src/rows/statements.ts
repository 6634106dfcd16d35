import { forgetSql } from '../server/forget-statement.ts';
import { isPausedSql, pauseOfSql, pauseSql, pausesSql, resumeSql } from '../server/pause-statements.ts';
import { countRunSql, endedRunSql, keepRunsSql, LOST_RUN, lostRunSql, reopenSql, runsSql } from '../server/run-statements.ts';
import { placeOf, type Place } from '../server/schema.ts';
import { FLUSH, FLUSH_UNLESS_2, ms } from '../server/sql.ts';
import {
  askedSql,
  CLAIM,
  CLAIMABLE,
  CLAIMED,
  CLAIMED_COLUMNS,
  dueSql,
  endPlainSql,
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

/** The statements of lease rows: see server/statements.ts for the rules that they keep. */
export function statementsFor(schema: string): Statements {
  const place = placeOf('lease', schema);
  const parts = { held: HELD, expires: ms('j.expires_at'), lost: 'j.held', over: OVER };
  const record = recordSql({ ...parts, pause: pauseOfSql(place, 'j.name') });
  return {
    acquire: acquireSql(place, recordSql({ ...parts, pause: 't.pause' })),
    renew: renewSql(place.job),
    release: releaseSql(place),
    inspect: inspectSql(place, record),
    list: listSql(place, record),
    watch: watchSql(place, `coalesce(${HELD}, false)`),
    pause: pauseSql(place),
    resume: resumeSql(place),
    pauses: pausesSql(place),
    runs: runsSql(place, LOST, OVER),
    reopen: reopenSql(place, '(NOT j.held OR o.lost)', LOST, OVER),
    forget: forgetSql(place, freeSql('j')),
  };
}

const HELD = `(j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp()))`;
const LOST = `(j.held AND j.expires_at <= clock_timestamp())`;
/** When a lease without news ended. It lies in the future where the server's clock was set back. */
const OVER = 'least(j.expires_at, clock_timestamp())';

function freeSql(j: string): string {
  return `(NOT ${j}.held OR ${j}.expires_at <= clock_timestamp())`;
}

/** Lease and claim in one step. */
function acquireSql(place: Place, record: string): string {
  const { job, forgotten } = place;
  // The second: exactly this lease has been seen unchanged for longer than it lasts, so the server's clock was set back.
  const free = `(${freeSql('j')} OR (j.owner = m.over_owner AND ${ms('j.expires_at')} = m.over_at))`;
  const expiry = `clock_timestamp() + m.lease * interval '1 millisecond'`;
  return `WITH asked AS MATERIALIZED (
    ${askedSql(place)}
  ), tried AS MATERIALIZED (
    -- A column of its own: the planner takes IS NULL for rare, and would join for one row.
    SELECT a.*, ${NOT_PAUSED} AS got, ${FLUSH_UNLESS_2} AS flush FROM asked a
  ), minted AS MATERIALIZED (
    SELECT t.* FROM tried t WHERE t.got AND ${dueSql(place)}
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, ${OPENED}, ${lostRunSql('j.held', OVER)}
    FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = 'lease' ORDER BY j.name FOR UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE ${job} j SET
      key = m.key, fence = j.fence + 1, owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = NULL, lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = ${expiry},
      held = true, ${CLAIM},
      ${LOST_RUN}
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'lease' AND j.name = m.name AND ${free} AND ${CLAIMABLE}
    RETURNING m.ord, j.fence::text AS fence, ${PREVIOUS}, o.*
  ), kept AS (
    ${keepRunsSql(place, 'taken')}
  ), floor AS MATERIALIZED (
    -- The newest version, whatever the snapshot: until the end of this statement nobody forgets a row that it does not see.
    SELECT k.fence FROM ${forgotten} k WHERE k.kind = 'lease' FOR SHARE
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      ${CLAIMED_COLUMNS})
    SELECT 'lease', m.name, m.key, greatest(m.floor, (SELECT l.fence FROM floor l), 0) + 1, m.owner, m.host, m.pid, m.label, NULL::integer, m.lease,
      clock_timestamp(), ${expiry}, true, ${CLAIMED}
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'lease' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT ${GRANTED} FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, g.fence, ${PREVIOUS_AS_TEXT}, ${PAUSED_BY},
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    CASE WHEN j.name IS NOT NULL THEN ${record} END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN ${job} j ON j.kind = 'lease' AND j.name = t.name AND g.ord IS NULL`;
}

/** A row that another transaction has locked is not waited for: all other leases of the process would wait with it, and be lost. */
function renewSql(job: string): string {
  return `WITH asked AS MATERIALIZED (
    SELECT a.*, ${FLUSH} AS flush FROM json_to_recordset($1::json) AS a(ord int, name text, owner text)
  ), open AS MATERIALIZED (
    SELECT a.ord FROM ${job} j JOIN asked a ON j.name = a.name
    WHERE j.kind = 'lease' AND j.owner = a.owner ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), renewed AS (
    UPDATE ${job} j SET expires_at = clock_timestamp() + j.lease_ms * interval '1 millisecond'
    FROM asked a JOIN open o USING (ord) WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner
      AND j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())
    RETURNING a.ord
  )
  SELECT a.ord::text, CASE WHEN r.ord IS NOT NULL THEN 'yes' WHEN o.ord IS NULL AND k.held THEN 'locked' ELSE 'no' END AS ours
  FROM asked a LEFT JOIN renewed r USING (ord) LEFT JOIN open o USING (ord)
    LEFT JOIN ${job} k ON k.kind = 'lease' AND k.name = a.name AND k.owner = a.owner`;
}

/** Ends leases and records how the runs went. */
function releaseSql(place: Place): string {
  const { job } = place;
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      ${FLUSH_UNLESS_2} AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET ${endSql('a.result', 'a.error')}, ${countRunSql('a.result')}
    FROM asked a WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner AND j.held
    RETURNING a.ord, ${endedRunSql('a.result')}, ${notifySql('$3')} AS told
  ), kept AS (
    ${keepRunsSql(place, 'ended')}
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner, false))::text AS ours
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = 'lease' AND j.name = a.name`;
}

export interface AloneStatements {
  /** Of a plain name that was released: one whose run was lost needs more words. */
  readonly take: string;
  /** Of a plain run that was done or failed. */
  readonly end: string;
  /** Of any other run. */
  readonly endKept: string;
}

/** For one row that exists already, with plain parameters: a third of the work. No row in the answer says nothing. */
export function aloneStatements(schema: string): AloneStatements {
  const place = placeOf('lease', schema);
  const { job } = place;
  const ofOwner = `j.kind = 'lease' AND j.name = $1 AND j.owner = $2 AND j.held`;
  return {
    take: `UPDATE ${job} j SET fence = j.fence + 1, owner = $2, host = $3, pid = $4::bigint, label = $5, lease_ms = $6::float8,
        acquired_at = clock_timestamp(), expires_at = clock_timestamp() + $6::float8 * interval '1 millisecond', held = true, claimed = false,
        keeps_history = $8::boolean
      WHERE j.ctid = (SELECT k.ctid FROM ${job} k WHERE k.kind = 'lease' AND k.name = $1 AND NOT k.held
        AND NOT ${isPausedSql(place, '$7')} FOR UPDATE SKIP LOCKED)
      RETURNING j.fence::text AS fence, ${FLUSH} AS flush`,
    end: `UPDATE ${job} j SET ${endPlainSql('$3', '$4')} WHERE ${ofOwner} AND NOT j.claimed AND NOT j.keeps_history
      RETURNING ${notifySql('$5')}::text AS told, ${FLUSH} AS flush`,
    endKept: `WITH ended AS (
        UPDATE ${job} j SET ${endSql('$3', '$4')}, ${countRunSql('$3')} WHERE ${ofOwner}
        RETURNING ${endedRunSql('$3')}, ${notifySql('$5')}::text AS told, ${FLUSH} AS flush
      ), kept AS (
        ${keepRunsSql(place, 'ended')}
      )
      SELECT told FROM ended`,
  };
}
