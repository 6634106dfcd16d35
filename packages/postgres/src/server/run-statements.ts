import { MOST_RUNS } from '@solorun/core/server';
import type { Place } from './schema.ts';
import { FLUSH, ms } from './sql.ts';

/**
 * A run that is over stands in the columns `last_…` of its row, and, if it is one that is kept, in a row of the ring `run`. Both are
 * written by the statement that ends the run, or by the one that takes over from a run that was lost.
 *
 * A version before this one writes neither. So `last_…` may be behind `last_success_at` and `last_error`, which it does write: see
 * `lastRunOf` in records.ts.
 */

/** Whether the run of the row `j` is one that is kept. */
const KEPT = '(j.claimed OR j.keeps_history)';

/** A run in the words of `keepRunsSql`: of the row `j`, before or after the statement. */
const RUN = `j.fence AS run_fence, CASE WHEN j.claimed THEN j.occurrence_at END AS run_at,
      CASE WHEN j.claimed THEN coalesce(j.attempt, 1) ELSE 1 END AS run_attempt,
      j.host AS run_host, j.pid AS run_pid, j.label AS run_label, j.acquired_at AS run_since`;

/** The columns of the row `j` about its last run, once that is over. */
function lastRun(result: string, over: string): readonly (readonly [column: string, value: string])[] {
  return [
    ['last_finished_at', over],
    ['last_outcome', result],
    ['last_run_fence', 'j.fence'],
    ['last_run_host', 'j.host'],
    ['last_run_pid', 'j.pid'],
    ['last_run_label', 'j.label'],
    ['last_run_since', 'j.acquired_at'],
  ];
}

function lastRunIf(condition: string, result: string, over: string): string {
  return lastRun(result, over)
    .map(([column, value]) => `${column} = CASE WHEN ${condition} THEN ${value} ELSE j.${column} END`)
    .join(',\n      ');
}

/** The changes to the row `j` when its run ends as `result`, and was not taken back. */
export function lastRunSql(result: string): string {
  return lastRun(result, 'clock_timestamp()')
    .map(([column, value]) => `${column} = ${value}`)
    .join(', ');
}

/** The same, unless it is taken back. */
export function lastRunUnlessUndoneSql(result: string): string {
  return lastRunIf(`${result} <> 'abandoned'`, result, 'clock_timestamp()');
}

/** Counts the run of the row `j`, if it is one that is kept. */
export function countRunSql(result: string): string {
  return `run_count = j.run_count + (${KEPT} AND ${result} <> 'abandoned')::int`;
}

/** The columns of an ended row `j` that `keepRunsSql` takes: after the change. */
export function endedRunSql(result: string): string {
  return `j.name, ${KEPT} AND ${result} <> 'abandoned' AS kept, j.run_count - 1 AS run_number, ${RUN},
      j.last_finished_at AS run_over, j.last_outcome AS run_outcome, j.last_error AS run_error`;
}

/**
 * The columns of the row `j` that tell whether its run was lost, and that `keepRunsSql` takes then: before the change.
 *
 * @param over when it ended, as far as is known
 */
export function lostRunSql(lost: string, over: string): string {
  return `${lost} AS lost, ${KEPT} AND ${lost} AS kept, j.run_count AS run_number, ${RUN},
      ${over} AS run_over, 'lost' AS run_outcome, NULL::text AS run_error`;
}

/** The changes to the row `j` by the one that follows, if its run was lost; `o` is the row as it was, with `lostRunSql`. */
export const LOST_RUN: string = `${lastRunIf('o.lost', "'lost'", 'o.run_over')},
      run_count = j.run_count + o.kept::int`;

/** Writes the runs of `from` that are `kept` into the ring. */
export function keepRunsSql({ kind, run }: Place, from: string): string {
  const columns = ['fence', 'occurrence_at', 'attempt', 'host', 'pid', 'label', 'started_at', 'finished_at', 'outcome', 'error'];
  return `INSERT INTO ${run} (kind, name, slot, ${columns.join(', ')})
    SELECT '${kind}', f.name, (f.run_number % ${MOST_RUNS})::smallint, f.run_fence, f.run_at, f.run_attempt, f.run_host, f.run_pid,
      f.run_label, f.run_since, f.run_over, f.run_outcome, f.run_error
    FROM ${from} f WHERE f.kept
    ON CONFLICT (kind, name, slot) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`;
}

/**
 * The last `$2` runs of the name `$1`, the newest first; one that was lost is among them before anybody follows.
 *
 * @param lost whether the run of the row `j` was lost
 * @param over as for `lostRunSql`
 */
export function runsSql({ kind, job, run }: Place, lost: string, over: string): string {
  return `SELECT json_build_object('fence', f.fence::text, 'at', ${ms('f.occurrence_at')}, 'attempt', f.attempt, 'host', f.host,
      'pid', f.pid, 'label', f.label, 'startedAt', f.started_at, 'finishedAt', f.finished_at,
      'outcome', f.outcome, 'error', f.error)::text AS run
    FROM (
      SELECT r.fence, r.occurrence_at, r.attempt, r.host, r.pid, r.label, r.started_at, r.finished_at, r.outcome, r.error
      FROM ${run} r WHERE r.kind = '${kind}' AND r.name = $1
      UNION ALL
      SELECT l.run_fence, l.run_at, l.run_attempt, l.run_host, l.run_pid, l.run_label, l.run_since, l.run_over, l.run_outcome, l.run_error
      FROM (SELECT ${lostRunSql(lost, over)} FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1) l WHERE l.kept
    ) f ORDER BY f.fence DESC LIMIT $2::int`;
}

/**
 * Allows one more attempt of the last occurrence of the name `$1`. A run of it that was lost is over by that: should its holder come
 * back, it ends nothing. A row that another transaction has locked is not waited for (`locked`).
 *
 * @param free whether nobody holds the name of the row `j`; `o` is the row as it was, with `lostRunSql`
 * @param lost whether its run was lost
 * @param over as for `lostRunSql`
 */
export function reopenSql(place: Place, free: string, lost: string, over: string): string {
  const { kind, job } = place;
  return `WITH open AS MATERIALIZED (
    SELECT j.name, ${lostRunSql(lost, over)} FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1 FOR NO KEY UPDATE SKIP LOCKED
  ), opened AS (
    UPDATE ${job} j SET occurrence_state = 'reopened', held = j.held AND NOT o.lost,
      expires_at = CASE WHEN NOT o.lost THEN j.expires_at END,
      ${LOST_RUN}
    FROM open o WHERE j.kind = '${kind}' AND j.name = o.name AND ${free} AND j.occurrence_state IS NOT NULL
    RETURNING ${ms('j.occurrence_at')}::text AS at, j.attempt::text AS attempt, ${FLUSH} AS flush, o.*
  ), kept AS (
    ${keepRunsSql(place, 'opened')}
  )
  SELECT d.at, d.attempt, (o.name IS NULL)::text AS locked
  FROM ${job} j LEFT JOIN open o ON true LEFT JOIN opened d ON true WHERE j.kind = '${kind}' AND j.name = $1`;
}
