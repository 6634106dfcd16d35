import { OptionError } from '@solorun/core';
import type { Row, Statement } from './client.ts';

/**
 * The version of the tables. Later versions only add: columns with defaults, tables, indexes. So an older library goes on working
 * on a newer schema, and both may run at once; a newer library adds what it needs.
 */
export const SCHEMA_VERSION = 2;
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

/** A string, quoted. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** The sequence, as an argument of its functions. */
export function fenceOf(schema: string): string {
  return literal(`${ident(schema)}.fence`);
}

/** The tables of a schema, as one of the two providers uses them. */
export interface Place {
  readonly kind: Kind;
  readonly job: string;
  readonly run: string;
  readonly pause: string;
  readonly forgotten: string;
  /** As `fenceOf`. */
  readonly fence: string;
}

export function placeOf(kind: Kind, schema: string): Place {
  const s = ident(schema);
  return { kind, job: `${s}.job`, run: `${s}.run`, pause: `${s}.pause`, forgotten: `${s}.forgotten`, fence: fenceOf(schema) };
}

/**
 * The statements that make the schema, or bring one of an earlier version up to date, for programs with migrations of their own;
 * running them again changes nothing. The library runs them on first use where its role may. Earlier versions of the library go on
 * working on it.
 *
 * A role that is given the schema needs USAGE on the schema, USAGE and UPDATE on the sequence, and SELECT, INSERT and UPDATE on the
 * tables; and DELETE on the tables if it is to forget records (`retainMs`, `prune()`). Version 2 adds tables to those of version 1, so
 * GRANT … ON ALL TABLES has to be run once more.
 *
 * An update locks the table `job` for a moment. It fails, and changes nothing, if a transaction has the table for longer than that
 * (lock_timeout), as one that is guarded by a lease row does: run it again.
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

-- What version 2 adds to it.
DO ${literal(addColumns(`${s}.job`))};

${version2Tables(s)}

-- Fencing tokens of session locks.
CREATE SEQUENCE IF NOT EXISTS ${s}.fence;

-- Emptied by a crash of the server and by a promotion, which may take back the newest fences: whoever misses its mark leaps ahead.
CREATE UNLOGGED TABLE IF NOT EXISTS ${s}.uptime (mark text PRIMARY KEY);

CREATE TABLE IF NOT EXISTS ${s}.schema_version (version integer PRIMARY KEY);
INSERT INTO ${s}.schema_version VALUES (${SCHEMA_VERSION}) ON CONFLICT DO NOTHING;
`;
}

function version2Tables(s: string): string {
  return `-- The last runs of each name: a ring, so that it is bounded by its key.
CREATE TABLE IF NOT EXISTS ${s}.run (
  kind text NOT NULL,
  name text COLLATE "C" NOT NULL,
  slot smallint NOT NULL,
  fence bigint NOT NULL,
  occurrence_at timestamptz,
  attempt integer NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  label text,
  started_at timestamptz NOT NULL,
  finished_at timestamptz,
  outcome text NOT NULL,
  error text,
  PRIMARY KEY (kind, name, slot)
) WITH (fillfactor = 70);

-- Names that may not be acquired until then; one that is over says nothing.
CREATE TABLE IF NOT EXISTS ${s}.pause (
  kind text NOT NULL,
  name text COLLATE "C" NOT NULL,
  until timestamptz NOT NULL,
  by text NOT NULL,
  note text,
  PRIMARY KEY (kind, name)
);

-- The greatest fence of all rows that are gone: those that are made anew begin above it.
CREATE TABLE IF NOT EXISTS ${s}.forgotten (kind text PRIMARY KEY, fence bigint NOT NULL);
INSERT INTO ${s}.forgotten VALUES ('advisory', 0), ('lease', 0) ON CONFLICT DO NOTHING;`;
}

/** A statement that waits for the table lets all others wait behind it, renewals too: it gives up after this, in ms. */
const PATIENCE_MS = 200;

/**
 * The columns of version 2. ADD COLUMN IF NOT EXISTS alone would lock out all others at each run, also where the columns are there: it
 * would wait for every guarded transaction, and everything else would wait behind it.
 */
function addColumns(job: string): string {
  return `
DECLARE patience text := current_setting('lock_timeout');
BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = ${literal(job)}::regclass AND attname = 'keeps_history' AND NOT attisdropped) THEN
    PERFORM set_config('lock_timeout', '${PATIENCE_MS}', true);
    ALTER TABLE ${job}
      ADD COLUMN IF NOT EXISTS schedule text,
      ADD COLUMN IF NOT EXISTS next_due_at timestamptz,
      ADD COLUMN IF NOT EXISTS known_since timestamptz NOT NULL DEFAULT now(),
      ADD COLUMN IF NOT EXISTS last_finished_at timestamptz,
      ADD COLUMN IF NOT EXISTS last_outcome text,
      ADD COLUMN IF NOT EXISTS last_run_fence bigint,
      ADD COLUMN IF NOT EXISTS last_run_host text,
      ADD COLUMN IF NOT EXISTS last_run_pid bigint,
      ADD COLUMN IF NOT EXISTS last_run_label text,
      ADD COLUMN IF NOT EXISTS last_run_since timestamptz,
      ADD COLUMN IF NOT EXISTS run_count bigint NOT NULL DEFAULT 0,
      ADD COLUMN IF NOT EXISTS keeps_history boolean NOT NULL DEFAULT false;
    PERFORM set_config('lock_timeout', patience, true);
  END IF;
END`;
}

/** One process at a time makes or changes the schema: the letters "solorun" as a number. */
export const SCHEMA_LOCK = 0x736f6c6f72756en;

export type Ask = (statement: Statement) => Promise<readonly Row[]>;
