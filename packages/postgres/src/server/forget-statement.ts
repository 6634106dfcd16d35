import { isPausedSql } from './pause-statements.ts';
import type { Place } from './schema.ts';
import { NEXT_DUE } from './statements.ts';

/**
 * Removes the rows of names that are free, not paused, and were not touched for so long, with their runs; and a few pauses that are over.
 *
 * A row that changed after the statement began, by an acquisition or the end of a run, was touched, and stays: so no run of it is left
 * behind unseen. An acquisition that meets this statement finds the row locked, or gone and yet in its snapshot: it is granted
 * nothing and asks again.
 *
 * Fences never go back for it: rows that are made later begin above the fence in `forgotten`, which is raised before a row goes. A
 * statement that makes a row shares a lock on that fence until its end, so that no row comes and goes behind its snapshot.
 *
 * @param free whether nobody holds the name of the row `j`, and its fence is one that is not handed out again
 */
export function forgetSql(place: Place, free: string): string {
  const { kind, job, run, pause, forgotten } = place;
  // The greatest of these that there is.
  const touched = `greatest(j.acquired_at, j.last_finished_at, j.last_success_at, CASE WHEN j.held THEN j.expires_at END, ${NEXT_DUE})`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, ms float8)
  ), seen AS MATERIALIZED (
    SELECT DISTINCT ON (a.name) a.ord, a.name, a.ms, j.fence, j.run_count, j.held
    FROM asked a JOIN ${job} j ON j.kind = '${kind}' AND j.name = a.name
  ), free AS MATERIALIZED (
    SELECT s.ord, j.name, j.fence FROM ${job} j JOIN seen s ON j.name = s.name
    WHERE j.kind = '${kind}' AND j.fence = s.fence AND j.run_count = s.run_count AND j.held = s.held AND ${free}
      AND extract(epoch FROM clock_timestamp() - ${touched}) * 1000 >= s.ms AND NOT ${isPausedSql(place, 'j.name')}
    ORDER BY j.name FOR UPDATE OF j SKIP LOCKED
  ), noted AS (
    INSERT INTO ${forgotten} AS k (kind, fence) SELECT '${kind}', max(f.fence) FROM free f HAVING count(*) > 0
    ON CONFLICT (kind) DO UPDATE SET fence = greatest(k.fence, excluded.fence)
    RETURNING k.kind
  ), emptied AS (
    DELETE FROM ${run} r USING free f, noted n WHERE r.kind = n.kind AND r.name = f.name
  ), gone AS (
    DELETE FROM ${job} j USING free f, noted n WHERE j.kind = n.kind AND j.name = f.name RETURNING f.ord
  ), stale AS (
    DELETE FROM ${pause} p WHERE p.ctid = ANY (ARRAY(
      SELECT q.ctid FROM ${pause} q WHERE q.until <= clock_timestamp() LIMIT 500 FOR UPDATE SKIP LOCKED)) AND p.until <= clock_timestamp()
  )
  SELECT a.ord::text, (g.ord IS NOT NULL)::text AS gone FROM asked a LEFT JOIN gone g USING (ord)`;
}
