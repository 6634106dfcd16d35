import { setTimeout as sleep } from 'node:timers/promises';
import { ProviderError, UnsupportedError } from '@solorun/core';
import { sqlState } from './errors.ts';
import { ident, SCHEMA_LOCK, SCHEMA_VERSION, schemaSql, type Ask, type Kind } from './schema.ts';

export type SchemaState = 'ready' | 'standby' | 'read-only' | { readonly missing: string };

/** A database that is read-only for a while is not a role that only reads: the source of the setting tells them apart. */
const OF_THE_ROLE: readonly (string | null | undefined)[] = ['user', 'database user'];
/** An update that gave way to a transaction is tried so often, */
const TRIES = 8;
/** so far apart, in ms. */
const BETWEEN_MS = 300;

/**
 * Sees to it that the schema is there, makes it if need be and allowed, and says what is missing if not.
 *
 * @param ask one statement on one session, or each on whatever session a pooler has at hand
 * @throws Error while a transaction keeps the tables from being brought up to date
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
  const missing = await bringUpToDate(ask, schema, kind);
  if (missing !== undefined) return { missing };
  const { rights } = await lookAt(ask, schema, kind);
  return rights ? 'ready' : { missing: `this role may not use the tables of the schema ${schema}` };
}

/** The error that names the remedy. */
export function schemaRemedy(kind: string, missing: string): UnsupportedError {
  return new UnsupportedError(
    `${kind}: ${missing}. Run the statements that schemaSql() returns as a role that may, and grant this one USAGE on the schema, ` +
      'USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE on the tables (and DELETE, to forget records).',
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

/** Makes the schema, or brings it up to date, unless it is there. Returns what is missing if it may not. */
async function bringUpToDate(ask: Ask, schema: string, kind: Kind): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    const { version = 0, whole } = await lookAt(ask, schema, kind);
    if (version >= SCHEMA_VERSION && whole) return undefined;
    try {
      const refused = await create(ask, schema);
      if (refused === undefined) return undefined;
      return await whatIsMissing(ask, schema, version > 0 && version < SCHEMA_VERSION, refused);
    } catch (error) {
      // lock_not_available: another process may have done it by the next look.
      if (sqlState(error) !== '55P03') throw error;
      if (tries === TRIES) throw blocked(schema, error);
      await sleep(BETWEEN_MS);
    }
  }
}

function blocked(schema: string, cause: unknown): Error {
  return new Error(
    `a transaction that is under way has the table ${ident(schema)}.job, which has to be brought up to date: end that transaction, or ` +
      'wait until it is over (pg_locks shows it)',
    { cause },
  );
}

async function whatIsMissing(ask: Ask, schema: string, isOlder: boolean, refused: string): Promise<string> {
  if (isOlder) return `the schema ${schema} is older than this version needs, and this role may not change it (${refused})`;
  const [namespace] = await ask({ text: 'SELECT to_regnamespace($1)::text AS there', values: [ident(schema)] });
  return namespace?.['there'] == null
    ? `there is no schema ${schema}, and this role may not make it (${refused})`
    : `this role may not use the schema ${schema}, or the tables in it (${refused})`;
}

interface Found {
  /** Undefined: there are no tables, or none that this role may look into. */
  readonly version: number | undefined;
  /** Nothing of it was dropped. */
  readonly whole: boolean;
  readonly rights: boolean;
}

const NOTHING: Found = { version: undefined, whole: false, rights: false };
const TABLES = ['job', 'run', 'pause', 'forgotten'];

async function lookAt(ask: Ask, schema: string, kind: Kind): Promise<Found> {
  const [there] = await ask({
    text: `SELECT (to_regclass($1) IS NOT NULL AND has_schema_privilege($2, 'USAGE'))::text AS there`,
    values: [`${ident(schema)}.schema_version`, schema],
  }).catch((error: unknown) => {
    // No such schema, or one that may not be looked into.
    if (['3F000', '42501'].includes(sqlState(error))) return [{ there: 'false' }];
    throw error;
  });
  if (there?.['there'] !== 'true') return NOTHING;
  const [right] = await ask({
    // Lease rows keep their fences themselves. An object that is missing gives NULL.
    text: `SELECT (${TABLES.map((table) => mayDo(table, 'SELECT', 'INSERT', 'UPDATE')).join(' AND ')}
             AND ($2 OR has_sequence_privilege(${found('fence')}, 'USAGE') AND has_sequence_privilege(${found('fence')}, 'UPDATE')
               AND ${mayDo('uptime', 'SELECT', 'INSERT')}))::text AS rights,
             (${[...TABLES, 'fence', 'uptime'].map((object) => `${found(object)} IS NOT NULL`).join(' AND ')})::text AS whole,
             (${mayDo('schema_version', 'SELECT')})::text AS readable`,
    values: [ident(schema), kind === 'lease'],
  });
  if (right?.['readable'] !== 'true') return NOTHING;
  const [version] = await ask({ text: `SELECT max(version)::text AS version FROM ${ident(schema)}.schema_version` });
  const known = version?.['version'];
  return {
    version: known == null ? undefined : Number(known),
    whole: right['whole'] === 'true',
    rights: right['rights'] === 'true',
  };
}

function found(object: string): string {
  return `to_regclass($1 || '.${object}')`;
}

function mayDo(table: string, ...names: readonly string[]): string {
  return names.map((right) => `has_table_privilege(${found(table)}, '${right}')`).join(' AND ');
}

/** One transaction, and one maker at a time: CREATE … IF NOT EXISTS alone loses races. Returns why not, if it is not allowed. */
async function create(ask: Ask, schema: string): Promise<string | undefined> {
  const [namespace] = await ask({
    text: `SELECT n.there::text, CASE WHEN n.there IS NULL THEN has_database_privilege(current_database(), 'CREATE')
        ELSE has_schema_privilege(n.there, 'CREATE') END::text AS allowed,
      CASE WHEN n.there IS NULL THEN 'database ' || current_database() ELSE 'schema ' || n.there::text END AS place,
      (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.relnamespace = n.there AND c.relname = 'job')::text AS owned
      FROM (SELECT to_regnamespace($1) AS there) AS n`,
    values: [ident(schema)],
  });
  // Not tried in vain: this is asked again and again, and each refusal would stand in the log of the server.
  if (namespace?.['allowed'] !== 'true') return `permission denied: CREATE on ${namespace?.['place']}`;
  if (namespace['owned'] === 'false') return 'the table job belongs to another role';
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
