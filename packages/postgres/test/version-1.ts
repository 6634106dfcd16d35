/** The schema and the statements of version 1, word for word, of the schema "solorun": that version shares a database with this one. */
export const version1 = {
  schema: `CREATE SCHEMA IF NOT EXISTS "solorun";

-- One row per provider and lock name, kept after release: the holder, the fence, the occurrence, how the last run went.
CREATE TABLE IF NOT EXISTS "solorun".job (
  kind text NOT NULL,
  name text COLLATE "C" NOT NULL,
  key bigint NOT NULL,
  fence bigint NOT NULL,
  owner text NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  label text,
  backend integer,
  lease_ms bigint,
  acquired_at timestamptz NOT NULL,
  expires_at timestamptz,
  held boolean NOT NULL,
  claimed boolean NOT NULL,
  attempt integer,
  occurrence_at timestamptz,
  occurrence_state text,
  previous_at timestamptz,
  previous_state text,
  previous_attempt integer,
  last_success_at timestamptz,
  last_duration_ms double precision,
  last_error text,
  schedule_hash text,
  watched_until timestamptz,
  PRIMARY KEY (kind, name)
) WITH (fillfactor = 70);

-- Fencing tokens of session locks.
CREATE SEQUENCE IF NOT EXISTS "solorun".fence;

-- Emptied by a crash of the server and by a promotion, which may take back the newest fences: whoever misses its mark leaps ahead.
CREATE UNLOGGED TABLE IF NOT EXISTS "solorun".uptime (mark text PRIMARY KEY);

CREATE TABLE IF NOT EXISTS "solorun".schema_version (version integer PRIMARY KEY);
INSERT INTO "solorun".schema_version VALUES (1) ON CONFLICT DO NOTHING;
`,

  leaseAcquire: `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text,
      pid bigint, label text, lease float8, at_ms float8, attempts int, hash text, floor bigint, over_owner text, over_at numeric)
  ), locked AS MATERIALIZED (
    SELECT a.*, true AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      true AS got,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END END AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, coalesce(t.floor, 0) + 1 AS fence FROM tried t
    WHERE t.got AND (t.at IS NULL OR t.at <= clock_timestamp()
      OR EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'lease' AND k.name = t.name AND k.occurrence_at = t.at))
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, j.schedule_hash FROM "solorun".job j JOIN minted m ON j.name = m.name WHERE j.kind = 'lease' ORDER BY j.name FOR UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE "solorun".job j SET
      key = m.key, fence = j.fence + 1, owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = NULL, lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = clock_timestamp() + m.lease * interval '1 millisecond',
      held = true, claimed = m.at IS NOT NULL,
      previous_at = j.occurrence_at, previous_state = j.occurrence_state, previous_attempt = j.attempt,
      attempt = CASE WHEN m.at IS NULL THEN j.attempt WHEN m.at = j.occurrence_at THEN j.attempt + 1 ELSE 1 END,
      occurrence_at = coalesce(m.at, j.occurrence_at),
      occurrence_state = CASE WHEN m.at IS NULL THEN j.occurrence_state ELSE 'claimed' END,
      schedule_hash = coalesce(m.hash, j.schedule_hash)
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'lease' AND j.name = m.name AND ((NOT j.held OR j.expires_at <= clock_timestamp()) OR (j.owner = m.over_owner AND round((extract(epoch FROM j.expires_at) * 1000)::numeric, 3) = m.over_at)) AND (m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (m.at = j.occurrence_at AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))
    RETURNING m.ord, j.fence::text AS fence, j.attempt, round((extract(epoch FROM j.previous_at) * 1000)::numeric, 3) AS previous_at, j.previous_state, j.previous_attempt,
      o.schedule_hash AS previous_hash
  ), born AS (
    INSERT INTO "solorun".job AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT 'lease', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, NULL::integer, m.lease,
      clock_timestamp(), clock_timestamp() + m.lease * interval '1 millisecond', true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'lease' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text, g.previous_hash,
    CASE WHEN g.ord IS NULL THEN round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3)::text END AS now,
    CASE WHEN j.name IS NOT NULL THEN json_build_object('readAt', round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3), 'name', j.name, 'held', (j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())), 'owner', j.owner,
    'host', j.host, 'pid', j.pid, 'label', j.label, 'fence', j.fence::text, 'acquiredAt', round((extract(epoch FROM j.acquired_at) * 1000)::numeric, 3),
    'leaseMs', j.lease_ms, 'expiresAt', round((extract(epoch FROM j.expires_at) * 1000)::numeric, 3), 'at', round((extract(epoch FROM j.occurrence_at) * 1000)::numeric, 3), 'state', j.occurrence_state,
    'attempt', j.attempt, 'lastSuccessAt', round((extract(epoch FROM j.last_success_at) * 1000)::numeric, 3), 'lastDurationMs', j.last_duration_ms::numeric,
    'lastError', j.last_error, 'scheduleHash', j.schedule_hash)::text END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN "solorun".job j ON j.kind = 'lease' AND j.name = t.name AND g.ord IS NULL`,

  leaseRenew: `WITH asked AS MATERIALIZED (
    SELECT a.*, CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END AS flush FROM json_to_recordset($1::json) AS a(ord int, name text, owner text)
  ), open AS MATERIALIZED (
    SELECT a.ord FROM "solorun".job j JOIN asked a ON j.name = a.name
    WHERE j.kind = 'lease' AND j.owner = a.owner ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), renewed AS (
    UPDATE "solorun".job j SET expires_at = clock_timestamp() + j.lease_ms * interval '1 millisecond'
    FROM asked a JOIN open o USING (ord) WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner
      AND j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())
    RETURNING a.ord
  )
  SELECT a.ord::text, CASE WHEN r.ord IS NOT NULL THEN 'yes' WHEN o.ord IS NULL AND k.held THEN 'locked' ELSE 'no' END AS ours
  FROM asked a LEFT JOIN renewed r USING (ord) LEFT JOIN open o USING (ord)
    LEFT JOIN "solorun".job k ON k.kind = 'lease' AND k.name = a.name AND k.owner = a.owner`,

  leaseRelease: `WITH asked AS MATERIALIZED (
    SELECT a.*,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END END AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE "solorun".job j SET held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND a.result = 'abandoned' THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND a.result = 'abandoned' THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN a.result = 'abandoned' THEN j.previous_state ELSE a.result END,
      last_duration_ms = CASE WHEN a.result = 'abandoned' THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN a.result = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN a.result = 'abandoned' THEN j.last_error ELSE a.error END
    FROM asked a WHERE j.kind = 'lease' AND j.name = a.name AND j.owner = a.owner AND j.held
    RETURNING a.ord, CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify($3, j.key::text) END AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner, false))::text AS ours
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN "solorun".job j ON j.kind = 'lease' AND j.name = a.name`,

  leaseTake: `UPDATE "solorun".job j SET fence = j.fence + 1, owner = $2, host = $3, pid = $4::bigint, label = $5, lease_ms = $6::float8,
        acquired_at = clock_timestamp(), expires_at = clock_timestamp() + $6::float8 * interval '1 millisecond', held = true, claimed = false
      WHERE j.ctid = (SELECT k.ctid FROM "solorun".job k WHERE k.kind = 'lease' AND k.name = $1 AND (NOT k.held OR k.expires_at <= clock_timestamp()) FOR UPDATE SKIP LOCKED)
      RETURNING j.fence::text AS fence, CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END AS flush`,

  leaseEnd: `UPDATE "solorun".job j SET held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND $3 = 'abandoned' THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND $3 = 'abandoned' THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN $3 = 'abandoned' THEN j.previous_state ELSE $3 END,
      last_duration_ms = CASE WHEN $3 = 'abandoned' THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN $3 = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN $3 = 'abandoned' THEN j.last_error ELSE $4 END WHERE j.kind = 'lease' AND j.name = $1 AND j.owner = $2 AND j.held
      RETURNING CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify($5, j.key::text) END::text AS told, CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END AS flush`,

  leaseInspect: `SELECT json_build_object('readAt', round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3), 'name', j.name, 'held', (j.held AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())), 'owner', j.owner,
    'host', j.host, 'pid', j.pid, 'label', j.label, 'fence', j.fence::text, 'acquiredAt', round((extract(epoch FROM j.acquired_at) * 1000)::numeric, 3),
    'leaseMs', j.lease_ms, 'expiresAt', round((extract(epoch FROM j.expires_at) * 1000)::numeric, 3), 'at', round((extract(epoch FROM j.occurrence_at) * 1000)::numeric, 3), 'state', j.occurrence_state,
    'attempt', j.attempt, 'lastSuccessAt', round((extract(epoch FROM j.last_success_at) * 1000)::numeric, 3), 'lastDurationMs', j.last_duration_ms::numeric,
    'lastError', j.last_error, 'scheduleHash', j.schedule_hash)::text AS record FROM "solorun".job j WHERE j.kind = 'lease' AND j.name = $1`,

  advisoryAcquire: `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, guard bigint, mode int, owner text, host text,
      pid bigint, label text, lease float8, at_ms float8, attempts int, hash text, floor bigint, over_owner text, over_at numeric)
  ), locked AS MATERIALIZED (
    SELECT a.*, CASE a.mode WHEN 1 THEN pg_try_advisory_lock(a.key) WHEN 2 THEN true ELSE false END AS locked FROM asked a
  ), tried AS MATERIALIZED (
    SELECT a.*, to_timestamp(a.at_ms / 1000) AS at,
      CASE WHEN a.locked THEN pg_try_advisory_xact_lock(a.guard) ELSE false END AS got,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END END AS flush
    FROM locked a
  ), minted AS MATERIALIZED (
    SELECT t.*, nextval('"solorun".fence') AS fence FROM tried t
    WHERE t.got AND (t.at IS NULL OR t.at <= clock_timestamp()
      OR EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'advisory' AND k.name = t.name AND k.occurrence_at = t.at))
  ), open AS MATERIALIZED (
    -- The newest version of each row, which is locked from here on: what the update replaces is read off it.
    SELECT j.name, j.schedule_hash FROM "solorun".job j JOIN minted m ON j.name = m.name WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), taken AS (
    UPDATE "solorun".job j SET
      key = m.key, fence = greatest(m.fence, j.fence + 1), owner = m.owner, host = m.host, pid = m.pid, label = m.label,
      backend = pg_backend_pid(), lease_ms = m.lease, acquired_at = clock_timestamp(), expires_at = NULL::timestamptz,
      held = true, claimed = m.at IS NOT NULL,
      previous_at = j.occurrence_at, previous_state = j.occurrence_state, previous_attempt = j.attempt,
      attempt = CASE WHEN m.at IS NULL THEN j.attempt WHEN m.at = j.occurrence_at THEN j.attempt + 1 ELSE 1 END,
      occurrence_at = coalesce(m.at, j.occurrence_at),
      occurrence_state = CASE WHEN m.at IS NULL THEN j.occurrence_state ELSE 'claimed' END,
      schedule_hash = coalesce(m.hash, j.schedule_hash)
    FROM minted m JOIN open o ON o.name = m.name
    WHERE j.kind = 'advisory' AND j.name = m.name AND (m.at IS NULL OR j.occurrence_at IS NULL OR m.at > j.occurrence_at
        OR (m.at = j.occurrence_at AND j.occurrence_state <> 'done' AND j.attempt < m.attempts))
    RETURNING m.ord, j.fence::text AS fence, j.attempt, round((extract(epoch FROM j.previous_at) * 1000)::numeric, 3) AS previous_at, j.previous_state, j.previous_attempt,
      o.schedule_hash AS previous_hash
  ), born AS (
    INSERT INTO "solorun".job AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, expires_at, held,
      claimed, attempt, occurrence_at, occurrence_state, schedule_hash)
    SELECT 'advisory', m.name, m.key, m.fence, m.owner, m.host, m.pid, m.label, pg_backend_pid(), m.lease,
      clock_timestamp(), NULL::timestamptz, true, m.at IS NOT NULL,
      CASE WHEN m.at IS NOT NULL THEN 1 END, m.at, CASE WHEN m.at IS NOT NULL THEN 'claimed' END, m.hash
    FROM minted m WHERE NOT EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'advisory' AND k.name = m.name) ORDER BY m.name
    ON CONFLICT DO NOTHING
    RETURNING j.owner, j.fence::text AS fence
  ), granted AS (
    SELECT * FROM taken
    UNION ALL
    SELECT m.ord, b.fence, NULL, NULL, NULL, NULL, NULL FROM born b JOIN minted m ON m.owner = b.owner
  )
  SELECT t.ord::text, t.got::text, g.fence, g.attempt::text, g.previous_at::text, g.previous_state, g.previous_attempt::text, g.previous_hash,
    CASE WHEN g.ord IS NULL THEN round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3)::text END AS now,
    t.locked::text, (CASE WHEN t.locked AND g.ord IS NULL THEN pg_advisory_unlock(t.key) END)::text AS freed,
    CASE WHEN NOT t.locked AND NOT coalesce((j.held AND EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((j.key >> 32) & 4294967295)::oid AND l.objid = (j.key & 4294967295)::oid AND l.pid = j.backend)), false) THEN (SELECT a.application_name FROM pg_locks l CROSS JOIN pg_stat_get_activity(l.pid) a WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((t.key >> 32) & 4294967295)::oid AND l.objid = (t.key & 4294967295)::oid LIMIT 1) END AS session,
    CASE WHEN j.name IS NOT NULL THEN json_build_object('readAt', round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3), 'name', j.name, 'held', (j.held AND EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((j.key >> 32) & 4294967295)::oid AND l.objid = (j.key & 4294967295)::oid AND l.pid = j.backend)), 'owner', j.owner,
    'host', j.host, 'pid', j.pid, 'label', j.label, 'fence', j.fence::text, 'acquiredAt', round((extract(epoch FROM j.acquired_at) * 1000)::numeric, 3),
    'leaseMs', j.lease_ms, 'expiresAt', round((extract(epoch FROM clock_timestamp()) * 1000)::numeric, 3) + j.lease_ms, 'at', round((extract(epoch FROM j.occurrence_at) * 1000)::numeric, 3), 'state', j.occurrence_state,
    'attempt', j.attempt, 'lastSuccessAt', round((extract(epoch FROM j.last_success_at) * 1000)::numeric, 3), 'lastDurationMs', j.last_duration_ms::numeric,
    'lastError', j.last_error, 'scheduleHash', j.schedule_hash)::text END AS record
  FROM tried t LEFT JOIN granted g ON g.ord = t.ord
    LEFT JOIN "solorun".job j ON j.kind = 'advisory' AND j.name = t.name AND g.ord IS NULL`,

  advisoryRelease: `WITH asked AS MATERIALIZED (
    SELECT a.*,
      CASE WHEN a.key IS NOT NULL THEN pg_try_advisory_xact_lock(a.key) END AS kept,
      CASE WHEN $2 THEN set_config('synchronous_commit', 'off', true) ELSE CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END END AS flush
    FROM json_to_recordset($1::json) AS a(ord int, name text, owner text, key bigint, result text, error text)
  ), ended AS (
    UPDATE "solorun".job j SET held = false, expires_at = NULL,
      occurrence_at = CASE WHEN j.claimed AND a.result = 'abandoned' THEN j.previous_at ELSE j.occurrence_at END,
      attempt = CASE WHEN j.claimed AND a.result = 'abandoned' THEN j.previous_attempt ELSE j.attempt END,
      occurrence_state = CASE WHEN NOT j.claimed THEN j.occurrence_state WHEN a.result = 'abandoned' THEN j.previous_state ELSE a.result END,
      last_duration_ms = CASE WHEN a.result = 'abandoned' THEN j.last_duration_ms ELSE date_part('epoch', clock_timestamp() - j.acquired_at) * 1000 END,
      last_success_at = CASE WHEN a.result = 'done' THEN clock_timestamp() ELSE j.last_success_at END,
      last_error = CASE WHEN a.result = 'abandoned' THEN j.last_error ELSE a.error END
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.owner = a.owner AND j.held AND (a.key IS NOT NULL OR j.claimed OR EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((j.key >> 32) & 4294967295)::oid AND l.objid = (j.key & 4294967295)::oid AND l.pid = j.backend) OR NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((j.key >> 32) & 4294967295)::oid AND l.objid = (j.key & 4294967295)::oid))
    RETURNING a.ord, CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify($3, j.key::text) END AS told
  )
  SELECT a.ord::text, (e.ord IS NOT NULL OR coalesce(j.owner = a.owner AND NOT j.held, false))::text AS ours
    , (CASE WHEN a.kept THEN pg_advisory_unlock(a.key) END)::text AS freed
  FROM asked a LEFT JOIN ended e ON e.ord = a.ord LEFT JOIN "solorun".job j ON j.kind = 'advisory' AND j.name = a.name`,

  advisoryRecord: `WITH asked AS MATERIALIZED (
    SELECT a.* FROM json_to_recordset($1::json) AS a(ord int, name text, key bigint, fence bigint, owner text, host text, pid bigint,
      label text, backend int, lease float8, age float8, held boolean, result text, error text, duration float8, ended float8,
      at_ms float8, attempt int, hash text)
  ), open AS MATERIALIZED (
    SELECT j.name FROM "solorun".job j JOIN asked a ON j.name = a.name WHERE j.kind = 'advisory' ORDER BY j.name FOR NO KEY UPDATE OF j SKIP LOCKED
  ), told AS (
    UPDATE "solorun".job j SET key = a.key, fence = a.fence, owner = a.owner, host = a.host, pid = a.pid, label = a.label, backend = a.backend,
      lease_ms = a.lease, acquired_at = clock_timestamp() - a.age * interval '1 millisecond', held = a.held,
      claimed = j.claimed AND a.at_ms IS NOT NULL,
      last_duration_ms = coalesce(a.duration, j.last_duration_ms),
      last_success_at = CASE WHEN a.result = 'done' THEN clock_timestamp() - a.ended * interval '1 millisecond' ELSE j.last_success_at END,
      last_error = CASE a.result WHEN 'done' THEN NULL WHEN 'failed' THEN a.error ELSE j.last_error END
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.name IN (SELECT name FROM open)
      AND (j.fence < a.fence OR (j.fence = a.fence AND j.held))
    RETURNING a.ord, CASE WHEN NOT a.held THEN CASE WHEN j.watched_until > clock_timestamp() THEN pg_notify($2, j.key::text) END END
  ), late AS (
    UPDATE "solorun".job j SET last_success_at = clock_timestamp() - a.ended * interval '1 millisecond'
    FROM asked a WHERE j.kind = 'advisory' AND j.name = a.name AND j.name IN (SELECT name FROM open)
      AND j.fence > a.fence AND a.result = 'done' AND coalesce(j.last_success_at < clock_timestamp() - a.ended * interval '1 millisecond', true)
  ), born AS (
    INSERT INTO "solorun".job AS j (kind, name, key, fence, owner, host, pid, label, backend, lease_ms, acquired_at, held, claimed,
      attempt, occurrence_at, occurrence_state, schedule_hash, last_duration_ms, last_success_at, last_error)
    SELECT 'advisory', a.name, a.key, a.fence, a.owner, a.host, a.pid, a.label, a.backend, a.lease, clock_timestamp() - a.age * interval '1 millisecond', a.held,
      a.held AND a.at_ms IS NOT NULL, a.attempt, to_timestamp(a.at_ms / 1000),
      CASE WHEN a.at_ms IS NOT NULL THEN coalesce(CASE WHEN NOT a.held THEN a.result END, 'claimed') END, a.hash, a.duration, CASE WHEN a.result = 'done' THEN clock_timestamp() - a.ended * interval '1 millisecond' END, a.error
    FROM asked a WHERE NOT EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'advisory' AND k.name = a.name) ORDER BY a.name
    ON CONFLICT DO NOTHING
    RETURNING j.name
  )
  SELECT a.ord::text FROM asked a WHERE NOT EXISTS (SELECT FROM told t WHERE t.ord = a.ord)
    AND NOT EXISTS (SELECT FROM born b WHERE b.name = a.name)
    AND NOT EXISTS (SELECT FROM "solorun".job k WHERE k.kind = 'advisory' AND k.name = a.name AND k.fence >= a.fence)`,

  advisoryTake: `SELECT CASE WHEN pg_try_advisory_lock($1::bigint) THEN CASE WHEN pg_try_advisory_xact_lock($2::bigint) THEN nextval('"solorun".fence')::text
       WHEN pg_advisory_unlock($1::bigint) THEN 'guarded' END END AS answers`,
} as const;
