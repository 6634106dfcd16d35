import { ident } from '../server/schema.ts';
import {
  CLAIM,
  CLAIMABLE,
  dueSql,
  endSql,
  FLUSH,
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

/** The statements of lease rows: see server/statements.ts for the rules that they keep. */
export function statementsFor(schema: string): Statements {
  const job = `${ident(schema)}.job`;
  return {
    acquire: acquireSql(job),
    renew: renewSql(job),
    release: releaseSql(job),
    inspect: inspectSql('lease', job, RECORD),
    list: listSql('lease', job, RECORD),
    watch: watchSql('lease', job, `coalesce(${HELD}, false)`),
  };
}

const HELD = `(j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp()))`;
const RECORD = recordSql(HELD, ms('j.expires_at'));

function freeSql(j: string): string {
  return `(NOT ${j}.held OR ${j}.expires_at <= clock_timestamp())`;
}

/** Lease and claim in one step. */
function acquireSql(job: string): string {
  // The second: exactly this lease has been seen unchanged for longer than it lasts, so the server's clock was set back.
  const free = `(${freeSql('j')} OR (j.owner = m.over_owner AND ${ms('j.expires_at')} = m.over_at))`;
  const expiry = `clock_timestamp() + m.lease * interval '1 millisecond'`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text,
      pid bigint, label text, lease float8, at_ms float8, attempts int, hash text, floor bigint, over_owner text, over_at numeric)
  ), locked AS MATERIALIZED (
    SELECT a.*, true AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      true AS got,
      ${FLUSH_UNLESS_2} AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, coalesce(t.floor, 0) + 1 AS fence FROM tried t
    WHERE t.got AND ${dueSql('lease', job)}
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, j.schedule_hash FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = 'lease' ORDER BY j.name FOR UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE ${job} j SET
      key = m.key, fence = j.fence + 1, owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = NULL, lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = ${expiry},
      held = true, ${CLAIM}
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'lease' AND j.name = m.name AND ${free} AND ${CLAIMABLE}
    RETURNING m.ord, j.fence::text AS fence, ${PREVIOUS}
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT 'lease', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, NULL::integer, m.lease,
      clock_timestamp(), ${expiry}, true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'lease' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, ${PREVIOUS_AS_TEXT},
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    CASE WHEN j.name IS NOT NULL THEN ${RECORD} END AS record
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
function releaseSql(job: string): string {
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      ${FLUSH_UNLESS_2} AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET ${endSql('a.result', 'a.error')}
    FROM asked a WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner AND j.held
    RETURNING a.ord, ${notifySql('$3')} AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner, false))::text AS ours
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = 'lease' AND j.name = a.name`;
}

/** For one row that exists already, with plain parameters: a third of the work. No row in the answer says nothing. */
export function aloneStatements(schema: string): { readonly take: string; readonly end: string } {
  const job = `${ident(schema)}.job`;
  return {
    take: `UPDATE ${job} j SET fence = j.fence + 1, owner = $2, host = $3, pid = $4::bigint, label = $5, lease_ms = $6::float8,
        acquired_at = clock_timestamp(), expires_at = clock_timestamp() + $6::float8 * interval '1 millisecond', held = true, claimed = false
      WHERE j.ctid = (SELECT k.ctid FROM ${job} k WHERE k.kind = 'lease' AND k.name = $1 AND ${freeSql('k')} FOR UPDATE SKIP LOCKED)
      RETURNING j.fence::text AS fence, ${FLUSH} AS flush`,
    end: `UPDATE ${job} j SET ${endSql('$3', '$4')} WHERE j.kind = 'lease' AND j.name = $1 AND j.owner = $2 AND j.held
      RETURNING ${notifySql('$5')}::text AS told, ${FLUSH} AS flush`,
  };
}
