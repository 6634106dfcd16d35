import type { Finding } from '@solorun/core';
import { unlessAborted, unreachable } from '@solorun/core/server';
import { connect, type PostgresConnection, type Row, type Statement } from './client.ts';
import { hostsOf } from './hosts.ts';
import { ident } from './schema.ts';

export interface ExamineTerms {
  readonly connection: PostgresConnection;
  readonly schema: string;
  /** The meaning of a pooler in between for the provider: the end of a sentence. */
  readonly behindPooler: string;
}

/** How long a server may take to answer, in ms. */
const TIMEOUT_MS = 5_000;

/** The facts that a server reports of itself. */
interface Seen {
  readonly version: string;
  readonly recovering: boolean;
  /** When the server was started: two addresses may lead to one server. */
  readonly started: string;
  readonly tables: boolean;
  readonly creates: boolean;
  readonly encrypted: boolean;
}

interface SeenHost extends Seen {
  readonly pooled: boolean;
}

/** A host that answered, or why it did not. */
type Looked =
  | { readonly name: string; readonly seen: SeenHost; readonly error?: never }
  | { readonly name: string; readonly error: unknown; readonly seen?: never };

/** Judges the primary, because the provider uses no other host. The other hosts are listed beside it. */
export async function examine(
  { connection, schema, behindPooler }: ExamineTerms,
  signal: AbortSignal = new AbortController().signal,
): Promise<readonly Finding[]> {
  signal.throwIfAborted();
  const looked = await Promise.all(
    hostsOf(connection).map(async (host): Promise<Looked> => {
      const { name } = host;
      try {
        return { name, seen: await lookAtHost(host.connection, schema, signal) };
      } catch (error) {
        return { name, error };
      }
    }),
  );
  signal.throwIfAborted();
  const chosen = looked.find(({ seen }) => seen?.recovering === false) ?? looked.find(({ seen }) => seen !== undefined);
  if (chosen?.seen === undefined) {
    if (looked.length === 1) return [unreachable(looked[0]!.error)];
    return looked.map(({ name, error }) => ({ ...unreachable(error), check: `server ${name}` }));
  }
  const { seen } = chosen;
  const others = looked.filter((one) => one !== chosen);
  return [...aboutServer(seen), aboutPooler(seen.pooled, behindPooler), ...others.map((other) => aboutOther(other, seen))];
}

/** A pool of the user's leads to one server; it does not tell whether by way of a pooler. */
export async function examinePool(
  schema: string,
  ask: (statement: Statement) => Promise<readonly Row[]>,
  signal?: AbortSignal,
): Promise<readonly Finding[]> {
  signal?.throwIfAborted();
  try {
    const [row] = await unlessAborted(ask(lookStatement(schema)), signal);
    return aboutServer(seenIn(row!));
  } catch (error) {
    signal?.throwIfAborted();
    return [unreachable(error)];
  }
}

function lookStatement(schema: string): Statement {
  return {
    text: `
      SELECT current_setting('server_version') AS version, pg_is_in_recovery()::text AS recovering, pg_backend_pid()::text AS pid,
        pg_postmaster_start_time()::text AS started,
        (to_regclass($1) IS NOT NULL)::text AS tables,
        has_database_privilege(current_database(), 'CREATE')::text AS creates,
        (SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted`,
    values: [`${ident(schema)}.job`],
  };
}

function seenIn(row: Row): Seen {
  return {
    version: row['version'] ?? '',
    recovering: row['recovering'] === 'true',
    started: row['started'] ?? '',
    tables: row['tables'] === 'true',
    creates: row['creates'] === 'true',
    encrypted: row['encrypted'] === 'true',
  };
}

async function lookAtHost(connection: PostgresConnection, schema: string, signal: AbortSignal): Promise<SeenHost> {
  const client = await connect(connection, TIMEOUT_MS, () => {}, signal);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  try {
    const [row] = await unlessAborted(client.query(lookStatement(schema)), AbortSignal.any([signal, late.signal]));
    return { ...seenIn(row!), pooled: client.announcedPid !== Number(row!['pid']) };
  } finally {
    clearTimeout(timer);
    // This may hang behind a cut cable, and nothing depends on it.
    void client.end().catch(() => {});
  }
}

function aboutServer({ version, recovering, tables, creates, encrypted }: Seen): readonly Finding[] {
  return [
    { check: 'server', state: 'ok', says: `Postgres ${version}, ${encrypted ? 'encrypted' : 'not encrypted'}` },
    recovering
      ? {
          check: 'role',
          state: 'unsafe',
          says: 'a standby: it grants the locks of its primary a second time. Connect to the primary',
        }
      : { check: 'role', state: 'ok', says: 'a primary' },
    tables || creates
      ? { check: 'rights', state: 'ok', says: tables ? 'the tables are there' : 'the tables will be made' }
      : {
          check: 'rights',
          state: 'unsafe',
          says: 'no tables, and no right to make them: have somebody run schemaSql of @solorun/postgres',
        },
  ];
}

function aboutPooler(pooled: boolean, behindPooler: string): Finding {
  if (pooled) return { check: 'pooler', state: 'note', says: `one stands between${behindPooler}` };
  return { check: 'pooler', state: 'ok', says: 'none' };
}

function aboutOther({ name, seen, error }: Looked, chosen: Seen): Finding {
  const check = `host ${name}`;
  if (seen === undefined) return { check, state: 'note', says: unreachable(error).says };
  if (seen.recovering) return { check, state: 'ok', says: 'a standby' };
  if (seen.started === chosen.started) return { check, state: 'ok', says: 'the same server' };
  return { check, state: 'unsafe', says: 'a second primary, with locks of its own. End the one that is not to be used' };
}
