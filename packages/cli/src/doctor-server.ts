import { statfsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Client } from 'pg';
import type { Redis } from 'ioredis';
import { plain } from './show.ts';
import type { Store } from './store.ts';

/** One check of a store, and its meaning for programs that trust the store. */
export interface Finding {
  readonly check: string;
  /** `unreachable`: the store did not answer, so nothing is known. */
  readonly state: 'ok' | 'note' | 'unsafe' | 'unreachable';
  readonly says: string;
}

/** How long a server may take to answer, in ms. */
const TIMEOUT_MS = 5_000;

/** Checks a server or a directory before anything is locked there. */
export async function lookAtServer(store: Store): Promise<readonly Finding[]> {
  switch (store.scheme) {
    case 'postgres':
    case 'postgres+lease':
      return [runtime(), ...(await lookAtPostgres(store))];
    case 'redis':
      return [runtime(), ...(await lookAtRedis(store.connectionString!))];
    case 'file':
      return [runtime(), ...lookAtDirectory(store.directory!)];
    case 'memory':
      return [runtime()];
  }
}

function runtime(): Finding {
  return { check: 'client', state: 'ok', says: `Node.js ${process.versions.node} on ${process.platform}` };
}

/** The driver that the provider uses, from where the provider is. */
function driverOf(provider: string, driver: string): unknown {
  return createRequire(import.meta.resolve(provider))(driver);
}

interface Seen {
  readonly version: string;
  readonly recovering: boolean;
  readonly pid: number;
  /** When the server was started: two addresses may lead to one server. */
  readonly started: string;
  readonly tables: boolean;
  readonly creates: boolean;
  readonly encrypted: boolean | null;
  readonly pooled: boolean;
}

/** A host that answered, or why it did not. */
type Looked =
  | { readonly name: string; readonly seen: Seen; readonly error?: never }
  | { readonly name: string; readonly error: unknown; readonly seen?: never };

/** Judges the primary, because the provider uses no other host. The other hosts are listed beside it. */
async function lookAtPostgres({ scheme, connectionString }: Store): Promise<readonly Finding[]> {
  const { hostsOf } = await import('@solorun/postgres');
  const looked = await Promise.all(
    hostsOf({ connectionString }).map(async ({ name, connection }): Promise<Looked> => {
      try {
        return { name, seen: await lookAtHost(connection.connectionString!) };
      } catch (error) {
        return { name, error };
      }
    }),
  );
  const chosen = looked.find(({ seen }) => seen?.recovering === false) ?? looked.find(({ seen }) => seen !== undefined);
  if (chosen?.seen === undefined) {
    if (looked.length === 1) return [unreachable(looked[0]!.error)];
    return looked.map(({ name, error }) => ({ ...unreachable(error), check: `server ${plain(name)}` }));
  }
  const others = looked.filter((one) => one !== chosen);
  return [...aboutPostgres(chosen.seen, scheme), ...others.map((other) => aboutOther(other, chosen.seen))];
}

async function lookAtHost(connectionString: string): Promise<Seen> {
  const pg = driverOf('@solorun/postgres', 'pg') as { Client: typeof Client };
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<Omit<Seen, 'pooled'>>(`
      SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS recovering, pg_backend_pid() AS pid,
        pg_postmaster_start_time()::text AS started,
        to_regclass('solorun.job') IS NOT NULL AS tables,
        has_database_privilege(current_database(), 'CREATE') AS creates,
        (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS encrypted`);
    const seen = rows[0]!;
    return { ...seen, pooled: (client as unknown as { processID: number }).processID !== seen.pid };
  } finally {
    // This may hang behind a cut cable, and nothing depends on it.
    void client.end().catch(() => {});
  }
}

function aboutPostgres({ version, recovering, tables, creates, encrypted, pooled }: Seen, scheme: string): readonly Finding[] {
  return [
    { check: 'server', state: 'ok', says: `Postgres ${plain(version)}, ${encrypted === true ? 'encrypted' : 'not encrypted'}` },
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
    pooled
      ? {
          check: 'pooler',
          state: 'note',
          says: `one stands between${scheme === 'postgres' ? '; session locks need its session mode, postgres+lease:// needs none' : ''}`,
        }
      : { check: 'pooler', state: 'ok', says: 'none' },
  ];
}

function aboutOther({ name, seen, error }: Looked, chosen: Seen): Finding {
  const check = `host ${plain(name)}`;
  if (seen === undefined) return { check, state: 'note', says: unreachable(error).says };
  if (seen.recovering) return { check, state: 'ok', says: 'a standby' };
  if (seen.started === chosen.started) return { check, state: 'ok', says: 'the same server' };
  return { check, state: 'unsafe', says: 'a second primary, with locks of its own. End the one that is not to be used' };
}

async function lookAtRedis(url: string): Promise<readonly Finding[]> {
  const ioredis = driverOf('@solorun/redis', 'ioredis') as { Redis: typeof Redis };
  const client = new ioredis.Redis(url, {
    lazyConnect: true,
    // The check would ask for what a role may be kept from, and complain on the console.
    enableReadyCheck: false,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  // A wrong password or a refused connection is reported here first. The calls then say only that the connection is closed.
  let reason: unknown;
  client.on('error', (error: unknown) => (reason ??= error));
  try {
    await client.connect();
    const info = await client.info();
    const field = (name: string): string => plain(new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? '');
    const policy = field('maxmemory_policy');
    const replicas = Number(field('connected_slaves'));
    return [
      { check: 'server', state: 'ok', says: `Redis ${field('redis_version')}` },
      field('role') === 'master'
        ? { check: 'role', state: 'ok', says: `a master, ${replicas} replicas` }
        : { check: 'role', state: 'unsafe', says: 'a replica: connect to the master' },
      field('aof_enabled') === '1'
        ? { check: 'persistence', state: 'ok', says: 'append-only file' }
        : {
            check: 'persistence',
            state: 'note',
            says: 'no append-only file: a crash forgets occurrences and fences. Set appendonly yes',
          },
      policy === 'noeviction' || policy === ''
        ? { check: 'memory', state: 'ok', says: 'keys are not evicted' }
        : { check: 'memory', state: 'unsafe', says: `maxmemory-policy is ${policy}: locks may be thrown away. Set noeviction` },
    ];
  } catch (error) {
    if ((error as Error).message.startsWith('NOPERM')) {
      return [
        {
          check: 'server',
          state: 'note',
          says: 'this role may not ask (INFO): whether it is a master, and what it forgets, is not known',
        },
      ];
    }
    return [unreachable(reason ?? error)];
  } finally {
    client.disconnect();
  }
}

function lookAtDirectory(directory: string): readonly Finding[] {
  const { mode, uid } = statSync(directory);
  const { bavail, bsize } = statfsSync(directory);
  const whose = process.getuid?.() === uid ? 'this user' : `the user with id ${uid}`;
  return [
    { check: 'directory', state: 'ok', says: `${plain(directory)}, mode ${(mode & 0o7777).toString(8)}, of ${whose}` },
    bavail * bsize > 1e6
      ? { check: 'space', state: 'ok', says: `${Math.floor((bavail * bsize) / 1e6)} MB` }
      : { check: 'space', state: 'unsafe', says: 'less than 1 MB is left on this disk' },
  ];
}

function unreachable(error: unknown): Finding {
  // After several tries, the drivers report one error whose own message is empty.
  const { message, code } = error as NodeJS.ErrnoException;
  return { check: 'server', state: 'unreachable', says: `cannot be reached: ${plain(message || code || 'no reason given')}` };
}
