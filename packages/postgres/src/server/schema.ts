import { OptionError, ProviderError, UnsupportedError } from '@solorun/core';
import type { Row, Statement } from './client.ts';

/**
 * The version of the tables. Later versions only add: columns with defaults, tables, indexes. So an older library goes on working
 * on a newer schema, and both may run at once; a newer library adds what it needs.
 */
const SCHEMA_VERSION = 1;
export const DEFAULT_SCHEMA = 'solorun';

/** The provider of a row: the two do not exclude each other. */
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
 * The statements that make the schema, for programs with migrations of their own; running them again changes nothing. The library runs
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

/** One process at a time makes or changes the schema: the letters "solorun" as a number. */
export const SCHEMA_LOCK = 0x736f6c6f72756en;

export type Ask = (statement: Statement) => Promise<readonly Row[]>;

export type SchemaState = 'ready' | 'standby' | 'read-only' | { readonly missing: string };

/** A database that is read-only for a while is not a role that only reads: the source of the setting tells them apart. */
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

/** The error that names the remedy. */
export function schemaRemedy(kind: string, missing: string): UnsupportedError {
  return new UnsupportedError(
    `${kind}: ${missing}. Run the statements that schemaSql() returns as a role that may, and grant this one USAGE on the schema, ` +
      'USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE on the tables.',
  );
}

/** They were there before: this may pass, and waiters go on waiting. */
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
