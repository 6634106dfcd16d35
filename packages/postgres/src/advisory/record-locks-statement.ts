import { keepRunsSql, lostRunSql } from '../server/run-statements.ts';
import { placeOf } from '../server/schema.ts';
import { notifySql } from '../server/statements.ts';
import { LOST, UNKNOWN } from './statements.ts';

/** A moment that many ms ago. */
function ago(column: string): string {
  return `clock_timestamp() - ${column} * interval '1 millisecond'`;
}

/** The columns that tell of the last run that is over, and their values where the question `a` tells of one. */
const LAST_RUN: readonly (readonly [column: string, value: string])[] = [
  ['last_finished_at', ago('a.ended')],
  ['last_outcome', 'a.result'],
  ['last_run_fence', 'a.run_fence'],
  ['last_run_host', 'a.run_host'],
  ['last_run_pid', 'a.run_pid'],
  ['last_run_label', 'a.run_label'],
  ['last_run_since', ago('a.run_age')],
];

/** The same of the run of the row `j` that was lost. */
const OF_LOST: Readonly<Record<string, string>> = {
  ...{ last_finished_at: UNKNOWN, last_outcome: "'lost'", last_run_fence: 'j.fence', last_run_host: 'j.host' },
  ...{ last_run_pid: 'j.pid', last_run_label: 'j.label', last_run_since: 'j.acquired_at' },
};

const ERROR = `CASE a.result WHEN 'done' THEN NULL WHEN 'failed' THEN a.error ELSE j.last_error END`;

/**
 * Writes down who holds session locks, and how runs ended, some time after it happened; what is newer stands. A row for each that is
 * still to be written: another session makes or has locked the row at this moment, and this one has better to do than to wait.
 *
 * If the run that the row tells of was lost, that is written, too: another session has the lock by now.
 */
export function recordLocksSql(schema: string): string {
  const place = placeOf('advisory', schema);
  const { job } = place;
  const lost = `(j.fence < a.fence AND j.fence IS DISTINCT FROM a.run_fence AND ${LOST})`;
  const lastRun = LAST_RUN.map(
    ([column, value]) =>
      `${column} = CASE WHEN a.result IS NOT NULL THEN ${value} WHEN o.lost THEN ${OF_LOST[column]} ELSE j.${column} END`,
  );
  // Of a run before the one that the row tells of, nothing but its success is worth a word.
  const isLast = `coalesce(j.last_run_fence <= a.run_fence, true)
        AND coalesce(greatest(j.last_success_at, j.last_finished_at) < ${ago('a.ended')}, true)`;
  const late = [...LAST_RUN, ['last_duration_ms', 'a.duration'], ['last_error', ERROR]].map(
    ([column, value]) => `${column} = CASE WHEN ${isLast} THEN ${value} ELSE j.${column} END`,
  );
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, fence bigint, owner text, host text, pid bigint,
      label text, backend int, lease float8, age float8, held boolean, result text, error text, duration float8, ended float8,
      run_fence bigint, run_host text, run_pid bigint, run_label text, run_age float8,
      at_ms float8, attempt int, hash text, schedule text, next_ms float8, history boolean)
  ), open AS MATERIALIZED (
    SELECT j.name, ${lostRunSql(lost, UNKNOWN)} FROM ${job} j JOIN asked a ON j.name = a.name
    WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), told AS (
    UPDATE ${job} j SET key = a.key, fence = a.fence, owner = a.owner, host = a.host, pid = a.pid, label = a.label, backend = a.backend,
      lease_ms = a.lease, acquired_at = ${ago('a.age')}, held = a.held,
      claimed = j.claimed AND a.at_ms IS NOT NULL, keeps_history = coalesce(a.history, false),
      last_duration_ms = coalesce(a.duration, j.last_duration_ms),
      last_success_at = CASE WHEN a.result = 'done' THEN ${ago('a.ended')} ELSE j.last_success_at END,
      last_error = ${ERROR},
      ${lastRun.join(',\n      ')},
      run_count = j.run_count + o.kept::int
    FROM asked a JOIN open o ON o.name = a.name WHERE j.kind = 'advisory' AND j.name = a.name
      AND (j.fence < a.fence OR (j.fence = a.fence AND j.held))
    RETURNING a.ord, o.*, CASE WHEN NOT a.held THEN ${notifySql('$2')} END AS notified
  ), kept AS (
    ${keepRunsSql(place, 'told')}
  ), late AS (
    UPDATE ${job} j SET
      last_success_at = CASE WHEN a.result = 'done' THEN greatest(j.last_success_at, ${ago('a.ended')}) ELSE j.last_success_at END,
      ${late.join(',\n      ')}
    FROM asked a JOIN open o ON o.name = a.name
    WHERE j.kind = 'advisory' AND j.name = a.name AND j.fence > a.fence AND a.result IS NOT NULL
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, held, claimed,
      attempt, occurrence_at, occurrence_state, schedule_hash, schedule, next_due_at, keeps_history,
      last_duration_ms, last_success_at, last_error, ${LAST_RUN.map(([column]) => column).join(', ')})
    SELECT 'advisory', a.name, a.key, a.fence, a.owner, a.host, a.pid, a.label, a.backend, a.lease, ${ago('a.age')}, a.held,
      a.held AND a.at_ms IS NOT NULL, a.attempt, to_timestamp(a.at_ms / 1000),
      CASE WHEN a.at_ms IS NOT NULL THEN coalesce(CASE WHEN NOT a.held THEN a.result END, 'claimed') END,
      a.hash, a.schedule, to_timestamp(a.next_ms / 1000), coalesce(a.history, false),
      a.duration, CASE WHEN a.result = 'done' THEN ${ago('a.ended')} END, a.error, ${LAST_RUN.map(([, value]) => value).join(', ')}
    FROM asked a WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = a.name) ORDER BY a.name
    ON CONFLICT DO NOTHING
    RETURNING j.name
  )
  SELECT a.ord::text FROM asked a WHERE NOT EXISTS (SELECT FROM open o WHERE o.name = a.name)
    AND NOT EXISTS (SELECT FROM born b WHERE b.name = a.name)
    -- Of a row that is locked: it tells of this acquisition already, and there is nothing else to say.
    AND NOT (a.held AND a.result IS NULL
      AND EXISTS (SELECT FROM ${job} k WHERE k.kind = 'advisory' AND k.name = a.name AND k.fence >= a.fence))`;
}
