import type { Row } from './client.ts';
import { locksOf, type Locks } from './locks.ts';
import { fenceOf, ident, type Kind } from './schema.ts';

/**
 * What runs on the server: one statement per verb, each for any number of names at once, so that what is asked in one turn costs
 * one round trip. All take one parameter, a JSON array of what is asked, and give a row each, `ord` being the place in it.
 *
 * Rules that hold for all of them (READ COMMITTED is assumed):
 * - A statement sees the table as it was when it began, and an UPDATE the newest version of each row that it touches. So whatever
 *   decides stands in the WHERE of an UPDATE; what is merely read may be old, and is only good for telling why not.
 * - A guarded transaction in progress is never waited for: it may take long, and everything else on this session would wait with
 *   it. With lease rows it has taken its row FOR KEY SHARE: takeovers take it FOR UPDATE and skip what is locked, and a plain UPDATE
 *   (renewal, release) does not disturb it. With session locks it shares a lock of its own (`guard`), which an acquisition needs for
 *   itself, for a moment, and only tries for.
 * - Rows are locked in the order of their names, so that two statements that meet wait for each other once and not crosswise.
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

/** Where the rows are, and what the locks are called. */
interface Place {
  readonly kind: Kind;
  readonly job: string;
  readonly fence: string;
  readonly locks: Locks;
}

export function statementsFor(kind: Kind, schema: string, locks: Locks = locksOf(false)): Statements {
  const job = `${ident(schema)}.job`;
  const place: Place = { kind, job, fence: fenceOf(schema), locks };
  return {
    acquire: acquireSql(place),
    renew: kind === 'advisory' ? confirmSql(job) : renewSql(job),
    release: releaseSql(place),
    inspect: `SELECT ${recordSql(place, 'j')} AS record FROM ${job} j WHERE j.kind = '${kind}' AND j.name = $1`,
    list: `SELECT j.name, ${recordSql(place, 'j')} AS record FROM ${job} j
      WHERE j.kind = '${kind}' AND starts_with(j.name, $1) AND j.name > $2 ORDER BY j.name LIMIT 500`,
    watch: watchSql(place),
  };
}

function heldSql({ kind, locks }: Place, j: string): string {
  // A dead session leaves its row behind; the lock table knows better.
  if (kind === 'advisory') return `(${j}.held AND ${locks.held(`${j}.key`, `${j}.backend`)})`;
  return `(${j}.held AND (${j}.expires_at IS NULL OR ${j}.expires_at > clock_timestamp()))`;
}

/** What must survive a crash does, whatever the default of the role. */
const FLUSH = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END`;

/** Exact, as `extra_float_digits` may be set to anything. */
const ms = (column: string): string => `round((extract(epoch FROM ${column}) * 1000)::numeric, 3)`;

/** A row as text that no type parser of the user's touches. Fences do not fit into JSON's numbers. */
function recordSql(place: Place, j: string): string {
  const expires =
    place.kind === 'lease'
      ? ms(`${j}.expires_at`)
      : // The session is kept alive by the holder: from its last word on it counts anew.
        `${ms('clock_timestamp()')} + ${j}.lease_ms`;
  return `json_build_object('readAt', ${ms('clock_timestamp()')}, 'name', ${j}.name, 'held', ${heldSql(place, j)}, 'owner', ${j}.owner,
    'host', ${j}.host, 'pid', ${j}.pid, 'label', ${j}.label, 'fence', ${j}.fence::text, 'acquiredAt', ${ms(`${j}.acquired_at`)},
    'leaseMs', ${j}.lease_ms, 'expiresAt', ${expires}, 'at', ${ms(`${j}.occurrence_at`)}, 'state', ${j}.occurrence_state,
    'attempt', ${j}.attempt, 'lastSuccessAt', ${ms(`${j}.last_success_at`)}, 'lastDurationMs', ${j}.last_duration_ms::numeric,
    'lastError', ${j}.last_error, 'scheduleHash', ${j}.schedule_hash)::text`;
}

/**
 * Lease and claim in one step. For session locks `mode` says what to do about the lock: 0 only look (somebody here holds it, or it
 * was tried for in vain), 1 try, 2 it is ours already (it was waited for).
 *
 * The statement before it that freed the lock has been committed by then: see `releaseSql`. What is got and cannot be claimed
 * (an occurrence that is done, a transaction that the last holder guarded) is given back at once.
 */
function acquireSql(place: Place): string {
  const { kind, job, fence, locks } = place;
  const advisory = kind === 'advisory';
  const same = 'm.at = j.occurrence_at';
  const claimable = `(m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (${same} AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))`;
  // Or exactly this lease, which has been seen unchanged for longer than it lasts: the server's clock was set back.
  const free = advisory ? '' : `AND (${freeSql('j')} OR (j.owner = m.over_owner AND ${ms('j.expires_at')} = m.over_at))`;
  const forUpdate = `FOR ${advisory ? 'NO KEY UPDATE' : 'UPDATE'} OF j SKIP LOCKED`;
  const expiry = advisory ? 'NULL::timestamptz' : `clock_timestamp() + m.lease * interval '1 millisecond'`;
  const returning = `m.ord, j.fence::text AS fence, j.attempt, ${ms('j.previous_at')} AS previous_at, j.previous_state, j.previous_attempt,
      o.schedule_hash AS previous_hash`;
  const locked = `CASE a.mode WHEN 1 THEN ${locks.call('pg_try_advisory_lock', 'a.key')} WHEN 2 THEN true ELSE false END`;
  return `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text,
      pid bigint, label text, lease float8, at_ms float8, attempts int, hash text, floor bigint, over_owner text, over_at numeric)
  ), locked AS MATERIALIZED (
    SELECT a.*, ${advisory ? locked : 'true'} AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      ${advisory ? 'CASE WHEN a.locked THEN pg_try_advisory_xact_lock(a.guard) ELSE false END' : 'true'} AS got,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, ${advisory ? `nextval(${fence})` : 'coalesce(t.floor, 0) + 1'} AS fence FROM tried t
    WHERE t.got AND (t.at IS NULL OR t.at <= clock_timestamp()
      -- Another attempt of what was once due, by a clock that has been set back since.
      OR EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = t.name AND k.occurrence_at = t.at))
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, j.schedule_hash FROM ${job} j JOIN minted m ON j.name = m.name WHERE j.kind = '${kind}' ORDER BY j.name ${forUpdate}
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
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = '${kind}' AND j.name = m.name ${free} AND ${claimable}
    RETURNING ${returning}
  ), born AS (
    INSERT INTO ${job} AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT '${kind}', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, ${advisory ? 'pg_backend_pid()' : 'NULL::integer'}, m.lease,
      clock_timestamp(), ${expiry}, true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM ${job} k WHERE k.kind = '${kind}' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text, g.previous_hash,
    CASE WHEN g.ord IS NULL THEN ${ms('clock_timestamp()')}::text END AS now,
    ${
      advisory
        ? `t.locked::text, (CASE WHEN t.locked AND g.ord IS NULL THEN ${locks.call('pg_advisory_unlock', 't.key')} END)::text AS freed,
    CASE WHEN NOT t.locked AND NOT coalesce(${heldSql(place, 'j')}, false) THEN ${whoseSql(locks, 't.key')} END AS session,`
        : ''
    }
    CASE WHEN j.name IS NOT NULL THEN ${recordSql(place, 'j')} END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN ${job} j ON j.kind = '${kind}' AND j.name = t.name AND g.ord IS NULL`;
}

/** The name of the session that holds a lock. The view pg_stat_activity looks at all of them. */
function whoseSql(locks: Locks, key: string): string {
  return `(SELECT a.application_name FROM pg_locks l CROSS JOIN pg_stat_get_activity(l.pid) a WHERE ${locks.at(key)} LIMIT 1)`;
}

function freeSql(j: string): string {
  return `(NOT ${j}.held OR ${j}.expires_at <= clock_timestamp())`;
}

/**
 * Session locks live as long as their session does; the rows tell whether an operator has released one. One that has not been written
 * yet tells nothing, and one that is gone (`gone`) is written again: the table was emptied, or dropped and made anew.
 */
function confirmSql(job: string): string {
  return `SELECT a.ord::text, (CASE WHEN a.written THEN coalesce(j.held AND j.owner = a.owner, false)
        ELSE NOT coalesce(j.fence = a.fence AND NOT j.held, false) END)::text AS ours, (a.written AND j.name IS NULL)::text AS gone,
      pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, fence bigint, written boolean)
    LEFT JOIN ${job} j ON j.kind = 'advisory' AND j.name = a.name`;
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

/**
 * Ends leases and records how the runs went. A session lock (`key`) is given back when this statement has been committed and not a
 * moment sooner, for whoever gets it next must see what is written here: the transaction takes the lock once more, so that the
 * session's own hold is not the last one. Waiters that are woken by notifications have left word in `watched_until`.
 */
function releaseSql({ kind, job, locks }: Place): string {
  const advisory = kind === 'advisory';
  // From elsewhere: its session may have lost it to somebody whom the row does not tell of yet.
  const gone = advisory
    ? ` AND (a.key IS NOT NULL OR j.claimed OR ${locks.held('j.key', 'j.backend')} OR NOT ${locks.held('j.key')})`
    : '';
  return `WITH asked AS MATERIALIZED (
    SELECT a.*,
      ${advisory ? `CASE WHEN a.key IS NOT NULL THEN ${locks.call('pg_try_advisory_xact_lock', 'a.key')} END AS kept,` : ''}
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE ${FLUSH} END AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE ${job} j SET ${endSql('a.result', 'a.error')}
    FROM asked a WHERE j.kind = '${kind}' AND j.name = a.name AND j.owner = a.owner AND j.held${gone}
    RETURNING a.ord, ${tellSql('$3')} AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner${advisory ? ' AND NOT j.held' : ''}, false))::text AS ours
    ${advisory ? `, (CASE WHEN a.kept THEN ${locks.call('pg_advisory_unlock', 'a.key')} END)::text AS freed` : ''}
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN ${job} j ON j.kind = '${kind}' AND j.name = a.name`;
}

function endSql(result: string, error: string): string {
  const undone = `${result} = 'abandoned'`;
  return `held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND ${undone} THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND ${undone} THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN ${undone} THEN j.previous_state ELSE ${result} END,
      last_duration_ms = CASE WHEN ${undone} THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN ${result} = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN ${undone} THEN j.last_error ELSE ${error} END`;
}

/** Those who wait for notifications have left word; nobody else is disturbed. */
function tellSql(channel: string): string {
  return `CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify(${channel}, j.key::text) END`;
}

/** Which names are worth a try; and for the others, that somebody here wants to be told. */
function watchSql(place: Place): string {
  const { kind, job, locks } = place;
  const busy = kind === 'advisory' ? locks.held('a.key') : `coalesce(${heldSql(place, 'j')}, false)`;
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

/** One question with plain parameters, which costs the server a third of what arrays or JSON do; several with arrays. */
export interface Pair {
  readonly one: string;
  readonly many: string;
}

/** What is asked most often, as cheap as it can be: nothing but the lock and its fence. Who holds it is written down afterwards (`recordSql`). */
export function lockStatements(
  schema: string,
  locks: Locks,
): { readonly take: Pair; readonly keep: string; readonly wait: string; readonly free: Pair } {
  // NULL: somebody else holds it.
  const take = (got: string, key: string, guard: string): string =>
    `CASE WHEN ${got} THEN CASE WHEN pg_try_advisory_xact_lock(${guard}) THEN nextval(${fenceOf(schema)})::text
       WHEN ${locks.call('pg_advisory_unlock', key)} THEN 'guarded' END END`;
  const each = 'FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS a(key, guard, ord)';
  const list = (expression: string): string => `SELECT string_agg(coalesce(${expression}, ''), ',' ORDER BY a.ord) AS answers`;
  const [tryOne, tryEach] = ['$1::bigint', 'a.key'].map((key) => locks.call('pg_try_advisory_lock', key)) as [string, string];
  const [freeOne, freeEach] = ['$1::bigint', 'a.key'].map((key) => `${locks.call('pg_advisory_unlock', key)}::text`) as [
    string,
    string,
  ];
  return {
    take: {
      one: `SELECT ${take(tryOne, '$1::bigint', '$2::bigint')} AS answers`,
      many: `${list(take(tryEach, 'a.key', 'a.guard'))} ${each}`,
    },
    keep: `SELECT ${take('true', '$1::bigint', '$2::bigint')} AS answers`,
    wait: `SELECT (CASE WHEN ${locks.call('pg_advisory_lock', '$1::bigint')}::text = '' THEN pg_try_advisory_xact_lock($2::bigint) END)::text AS clear`,
    free: {
      one: `SELECT ${freeOne} AS answers`,
      many: `${list(freeEach)} FROM unnest($1::bigint[]) WITH ORDINALITY AS a(key, ord)`,
    },
  };
}

/** One lease row that is there already: of any other these statements say nothing. */
export function rowStatements(schema: string): { readonly take: string; readonly end: string } {
  const job = `${ident(schema)}.job`;
  return {
    take: `UPDATE ${job} j SET fence = j.fence + 1, owner = $2, host = $3, pid = $4::bigint, label = $5, lease_ms = $6::float8,
        acquired_at = clock_timestamp(), expires_at = clock_timestamp() + $6::float8 * interval '1 millisecond', held = true, claimed = false
      WHERE j.ctid = (SELECT k.ctid FROM ${job} k WHERE k.kind = 'lease' AND k.name = $1 AND ${freeSql('k')} FOR UPDATE SKIP LOCKED)
      RETURNING j.fence::text AS fence, ${FLUSH} AS flush`,
    end: `UPDATE ${job} j SET ${endSql('$3', '$4')} WHERE j.kind = 'lease' AND j.name = $1 AND j.owner = $2 AND j.held
      RETURNING ${tellSql('$5')}::text AS told, ${FLUSH} AS flush`,
  };
}

/**
 * Writes down who holds session locks, and how runs ended, some time after it happened; what is newer stands. A row for each that is
 * still to be written: somebody else makes or has locked the row at this moment, and the session has better to do than to wait.
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
    RETURNING a.ord, CASE WHEN NOT a.held THEN ${tellSql('$2')} END
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
