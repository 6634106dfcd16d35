import { OptionError, ProviderError, UnsupportedError } from '@solorun/core';
import type { Row, Statement } from './client.ts';
import type { Beginning } from './settling.ts';

/**
 * What the tables look like. Later versions only add: columns with defaults, tables, indexes. So an older library goes on working
 * on a newer schema, and both may run at once; a newer library adds what it needs.
 */
const SCHEMA_VERSION = 1;
export const DEFAULT_SCHEMA = 'solorun';

/**
 * How far the fences leap after a crash of the server, a promotion or a restored backup. Fences of plain locks are not flushed to
 * the disk one by one, so such an event may take back the newest of them; no server hands out this many before its next flush.
 */
const LEAP = 2n ** 32n;

/** Whose row it is: the two providers do not exclude each other. */
export type Kind = 'advisory' | 'lease';

export interface SchemaOptions {
  /**
   * The schema that keeps the records. Programs that use different ones do not exclude each other by lease rows; session locks go by
   * the name alone, so there a namespace keeps programs apart. @default 'solorun'
   */
  readonly schema?: string | undefined;
}

export function checkSchema(schema: string): void {
  if (typeof schema !== 'string' || schema === '' || schema.includes('\0') || Buffer.byteLength(schema) > 63) {
    throw new OptionError(`schema is the name of a Postgres schema, of 1 to 63 bytes, not ${JSON.stringify(schema)}.`);
  }
  if (schema.startsWith('pg_')) throw new OptionError(`Postgres keeps schema names that begin with "pg_" to itself: ${schema}.`);
}

/** An identifier, quoted. */
export function ident(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * The statements that make the schema, for those who migrate themselves; running them again changes nothing. The library runs
 * them on first use where its role may.
 *
 * A role that is given the schema needs USAGE on the schema, USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE on the tables.
 *
 * @throws OptionError
 */
export function schemaSql(options: SchemaOptions = {}): string {
  const { schema = DEFAULT_SCHEMA } = options;
  checkSchema(schema);
  const s = ident(schema);
  return `CREATE SCHEMA IF NOT EXISTS ${s};

-- One row per provider and lock name, kept after release: the holder, the fence, the occurrence, how the last run went.
CREATE TABLE IF NOT EXISTS ${s}.job (
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
CREATE SEQUENCE IF NOT EXISTS ${s}.fence;

-- Emptied by a crash of the server and by a promotion, which may take back the newest fences: whoever misses its mark leaps ahead.
CREATE UNLOGGED TABLE IF NOT EXISTS ${s}.uptime (mark text PRIMARY KEY);

CREATE TABLE IF NOT EXISTS ${s}.schema_version (version integer PRIMARY KEY);
INSERT INTO ${s}.schema_version VALUES (${SCHEMA_VERSION}) ON CONFLICT DO NOTHING;
`;
}

/** First come, first served among those who make the schema: the letters "solorun" as a number. */
const SCHEMA_LOCK = 0x736f6c6f72756en;

type Ask = (statement: Statement) => Promise<readonly Row[]>;

export type SchemaState = 'ready' | 'standby' | 'read-only' | { readonly missing: string };

/** A database that is read-only for a while is not a role that only reads: that one is told by where its setting comes from. */
const OF_THE_ROLE: readonly (string | null | undefined)[] = ['user', 'database user'];

/**
 * Sees to it that the schema is there, makes it if need be and allowed, and says what is missing if not.
 *
 * @param ask one statement on one session, or each on whatever session a pooler has at hand
 */
export async function prepareSchema(ask: Ask, schema: string, kind: Kind): Promise<SchemaState> {
  const [server] = await ask({
    text: `SELECT pg_is_in_recovery()::text AS standby, current_setting('transaction_read_only') AS read_only,
      (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS source`,
  });
  if (server?.['standby'] === 'true') return 'standby';
  if (server?.['read_only'] === 'on') {
    return OF_THE_ROLE.includes(server['source'])
      ? { missing: 'this role only reads (default_transaction_read_only)' }
      : 'read-only';
  }
  const found = await lookAt(ask, schema, kind);
  if (found.version === undefined || found.version < SCHEMA_VERSION) {
    const refused = await create(ask, schema);
    if (refused !== undefined) {
      const [namespace] = await ask({ text: 'SELECT to_regnamespace($1)::text AS there', values: [ident(schema)] });
      if (found.version === undefined && namespace?.['there'] != null) {
        return { missing: `this role may not use the schema ${schema}, or the tables in it (${refused})` };
      }
      const what =
        found.version === undefined ? `there is no schema ${schema}` : `the schema ${schema} is older than this version needs`;
      return { missing: `${what}, and this role may not make it (${refused})` };
    }
  }
  const { rights } = await lookAt(ask, schema, kind);
  return rights ? 'ready' : { missing: `this role may not use the tables of the schema ${schema}` };
}

/** What to do about it. */
export function schemaRemedy(kind: string, missing: string): UnsupportedError {
  return new UnsupportedError(
    `${kind}: ${missing}. Run the statements that schemaSql() returns as a role that may, and grant this one USAGE on the schema, ` +
      'USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE on the tables.',
  );
}

/** They were there before: this may pass, and whoever waits goes on waiting. */
export function unusableNow(kind: string, missing: string): ProviderError {
  return new ProviderError(
    kind,
    'lock here',
    `the tables that there were cannot be used now. ${schemaRemedy(kind, missing).message}`,
  );
}

async function lookAt(ask: Ask, schema: string, kind: Kind): Promise<{ version: number | undefined; rights: boolean }> {
  const [there] = await ask({
    text: `SELECT (to_regclass($1) IS NOT NULL AND has_schema_privilege($2, 'USAGE'))::text AS there`,
    values: [`${ident(schema)}.schema_version`, schema],
  }).catch((error: unknown) => {
    // No such schema, or one that may not be looked into.
    if (['3F000', '42501'].includes((error as { code?: string }).code ?? '')) return [{ there: 'false' }];
    throw error;
  });
  if (there?.['there'] !== 'true') return { version: undefined, rights: false };
  const [right] = await ask({
    // Lease rows keep their fences themselves.
    text: `SELECT (has_table_privilege($1, 'SELECT') AND has_table_privilege($1, 'INSERT') AND has_table_privilege($1, 'UPDATE')
             AND ($5 OR has_sequence_privilege($2, 'USAGE') AND has_sequence_privilege($2, 'UPDATE')
               AND has_table_privilege($3, 'SELECT') AND has_table_privilege($3, 'INSERT')))::text AS rights,
             has_table_privilege($4, 'SELECT')::text AS readable`,
    values: [...['job', 'fence', 'uptime', 'schema_version'].map((table) => `${ident(schema)}.${table}`), kind === 'lease'],
  }).catch((error: unknown) => {
    // Half of it is there: another process is making it at this moment, or stopped in the middle, or a table was dropped.
    if ((error as { code?: string }).code === '42P01') return [];
    throw error;
  });
  if (right?.['readable'] !== 'true') return { version: undefined, rights: false };
  const [version] = await ask({ text: `SELECT max(version)::text AS version FROM ${ident(schema)}.schema_version` });
  const known = version?.['version'];
  return { version: known == null ? undefined : Number(known), rights: right['rights'] === 'true' };
}

/** One transaction, and one maker at a time: CREATE … IF NOT EXISTS alone loses races. Returns why not, if it is not allowed. */
async function create(ask: Ask, schema: string): Promise<string | undefined> {
  const [namespace] = await ask({
    text: `SELECT n.there::text, CASE WHEN n.there IS NULL THEN has_database_privilege(current_database(), 'CREATE')
        ELSE has_schema_privilege(n.there, 'CREATE') END::text AS allowed,
      CASE WHEN n.there IS NULL THEN 'database ' || current_database() ELSE 'schema ' || n.there::text END AS place
      FROM (SELECT to_regnamespace($1) AS there) AS n`,
    values: [ident(schema)],
  });
  // Not tried in vain: this is asked again and again, and each refusal would stand in the log of the server.
  if (namespace?.['allowed'] !== 'true') return `permission denied: CREATE on ${namespace?.['place']}`;
  // Even IF NOT EXISTS wants the right to make it.
  const sql = namespace['there'] == null ? schemaSql({ schema }) : schemaSql({ schema }).replace(/^CREATE SCHEMA .*;$/m, '');
  const text = `SELECT pg_advisory_xact_lock(${SCHEMA_LOCK}); ${sql}`;
  try {
    // Without parameters it is one simple query, and so one transaction, wherever it runs.
    await ask({ text });
    return undefined;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // insufficient_privilege, read_only_sql_transaction
    if (code === '42501' || code === '25006') return message;
    throw error;
  }
}

/** By the server's clock, in ms. */
const NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
/** One life of a server is told from the next by when its postmaster was started, in ms. A crash of a backend alone begins none. */
const LIFE = '(extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint';
/** It has been a standby in this life: what was received, or when the last transaction was made that it replayed, is known till its end. */
const PROMOTED = '(pg_last_wal_receive_lsn() IS NOT NULL OR pg_last_xact_replay_timestamp() IS NOT NULL)';

/** The sequence, as an argument of its functions. */
export function fenceOf(schema: string): string {
  return `'${ident(schema).replaceAll("'", "''")}.fence'`;
}

/**
 * Makes the fences of session locks go on above one that was handed out: from transaction ids, or from a sequence that was dropped since.
 *
 * @param wasPlain other processes may have handed out transaction ids too
 */
export async function leapOver(ask: Ask, schema: string, fence: bigint, wasPlain: boolean): Promise<void> {
  const above = `greatest(${fence}, ${wasPlain ? 'pg_current_xact_id()::text::bigint' : '0'})`;
  const last = `coalesce(pg_sequence_last_value(${fenceOf(schema)}), 0)`;
  const [state] = await ask({ text: `SELECT (${last} < ${above})::text AS behind` });
  if (state?.['behind'] !== 'true') return;
  await ask({
    text: `BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
      SELECT CASE WHEN ${last} < ${above} THEN setval(${fenceOf(schema)}, ${above} + ${LEAP}) END; COMMIT`,
  });
}

/**
 * Once per session, before its first lock: makes fences grow over whatever took some of them back, and learns how the server's life
 * began, which may be too short a time ago to grant anything.
 *
 * The table `uptime` is emptied by a crash and by a promotion. What is found out about the server since then stands in it as text, a row
 * each: `MARK` (fences have leapt), and `MARK since MS WHY LIFE` (until a lease after MS, by the server's clock, locks may be trusted
 * that the server has forgotten). Programs of other versions do not mind rows that they do not know.
 */
export async function leapIfNeeded(ask: Ask, schema: string): Promise<Beginning> {
  const s = ident(schema);
  // This very table in this very database: a dump that is restored elsewhere brings the mark along, with older fences.
  const [here] = await ask({
    text: `SELECT d.oid || '.' || $1::regclass::oid AS mark FROM pg_database d WHERE d.datname = current_database()`,
    values: [`${s}.uptime`],
  });
  const [cluster] = await ask({ text: 'SELECT system_identifier::text AS id FROM pg_control_system()' }).catch(keptFromUs);
  const mark = `${cluster?.['id'] ?? ''}.${here?.['mark']}`;
  // Rows may be ahead of the sequence without a crash: replicated or restored without it.
  const counted = `SELECT pg_sequence_last_value(${fenceOf(schema)}) AS last, (SELECT max(fence) FROM ${s}.job WHERE kind = 'advisory') AS top`;
  const isKnown = `EXISTS (SELECT FROM ${s}.uptime WHERE mark = '${mark}')`;
  const isBehind = 'c.top IS NOT NULL AND c.top > coalesce(c.last, 0)';
  // The earliest: there is another one if the server's clock was set back behind it.
  const told = `SELECT split_part(u.mark, ' ', 3)::bigint AS since, split_part(u.mark, ' ', 4) AS why, split_part(u.mark, ' ', 5) AS life
    FROM ${s}.uptime u WHERE starts_with(u.mark, '${mark} since ') ORDER BY 1 LIMIT 1`;
  const look = async (): Promise<Row> => {
    const [state] = await ask({
      text: `SELECT (${isKnown} AND NOT (${isBehind}) AND coalesce(b.since <= ${NOW}, false))::text AS fine,
        b.why, b.life, (${NOW} - b.since)::text AS age, ${LIFE}::text AS life_now, (${NOW} - ${LIFE})::text AS up
        FROM (${counted}) AS c LEFT JOIN (${told}) AS b ON true`,
    });
    return state!;
  };
  const state = await look();
  if (state['fine'] === 'true') return beginningOf(state);
  const [promotion] = await ask({ text: `SELECT ${PROMOTED}::text AS seen` }).catch(keptFromUs);
  // A statement each, in one transaction: whoever waited for the lock has to see what the one before it did.
  await ask({
    text: `BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
      INSERT INTO ${s}.uptime SELECT '${mark} since ' || CASE
          WHEN b.since IS NOT NULL THEN ${NOW} || ' ' || b.why || ' ' || b.life
          WHEN c.last IS NULL AND c.top IS NULL THEN '0 install ' || ${LIFE}
          WHEN ${promotion?.['seen'] ?? 'false'} THEN ${NOW} || ' promotion ' || ${LIFE}
          ELSE least(${LIFE}, ${NOW}) || ' crash ' || ${LIFE} END
        FROM (${counted}) AS c LEFT JOIN (${told}) AS b ON true WHERE coalesce(b.since > ${NOW}, true) ON CONFLICT DO NOTHING;
      SELECT CASE WHEN c.last IS NULL AND c.top IS NULL THEN nextval(${fenceOf(schema)})
        ELSE setval(${fenceOf(schema)}, greatest(nextval(${fenceOf(schema)}), c.top) + ${LEAP}) END
        FROM (${counted}) AS c WHERE NOT ${isKnown} OR ${isBehind};
      INSERT INTO ${s}.uptime VALUES ('${mark}') ON CONFLICT DO NOTHING; COMMIT`,
  });
  return beginningOf(await look());
}

/** A hosted server may keep some things to itself. */
function keptFromUs(error: unknown): readonly Row[] {
  if ((error as { code?: string }).code !== undefined) return [];
  throw error;
}

function beginningOf({ why, life, age, life_now: now, up }: Row): Beginning {
  const forgot = why == null || why === 'install' ? undefined : { why, life: life!, ageMs: Number(age) };
  return { life: now!, upMs: Number(up), forgot };
}

/**
 * The same for a role without tables: whether this life of the server began with a recovery is known, and nothing of lives before it.
 * Where not even that can be asked, every start counts.
 */
export async function beginningWithoutTables(ask: Ask): Promise<Beginning> {
  const [server] = await ask({ text: `SELECT ${LIFE}::text AS life, (${NOW} - ${LIFE})::text AS up` });
  const [recovery] = await ask({ text: 'SELECT (pg_last_wal_replay_lsn() IS NOT NULL)::text AS seen' }).catch(keptFromUs);
  const { life, up } = server!;
  const isOrderly = recovery?.['seen'] === 'false';
  return { life: life!, upMs: Number(up), forgot: isOrderly ? undefined : { why: 'crash', life: life!, ageMs: Number(up) } };
}
