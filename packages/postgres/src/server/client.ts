import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { OptionError } from '@solorun/core';
import { delay, unlessAborted } from '@solorun/core/server';
import pg from 'pg';
import { hostsOf } from './hosts.ts';

/** How to reach a server: a part of what node-postgres takes. Parts that are left out come from the `PG…` variables of the environment. */
export interface PostgresConnection {
  /**
   * `postgres://user:password@host:port/database`. Several servers in libpq's notation (`…@host1:5432,host2:5433/…`) are tried in turn,
   * and the primary among them is kept. Never shown: not in errors, events, records or process titles.
   */
  readonly connectionString?: string | undefined;
  /** One, or several with commas. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly database?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | (() => string | Promise<string>) | undefined;
  readonly ssl?: boolean | ConnectionOptions | undefined;
}

/** A pool: node-postgres's own, or anything that runs one statement and hands back its rows. */
export interface PostgresPool {
  query(text: string, values: unknown[]): Promise<{ readonly rows: unknown[] }>;
}

export type Row = Readonly<Record<string, string | null>>;

export interface Statement {
  readonly text: string;
  readonly values?: unknown[];
  /** Prepared once per connection under this name. Not behind a pooler that shares connections. */
  readonly name?: string;
}

/** One connection, as node-postgres gives it. */
export interface PostgresClient {
  /** The backend's process id as the other side of the wire told it: a pooler invents one. */
  readonly announcedPid: number;
  query(statement: Statement): Promise<readonly Row[]>;
  onNotification(listener: (channel: string, payload: string) => void): void;
  /** Keeps the process alive, or does not. */
  keepAlive(on: boolean): void;
  /** Says goodbye. It may wait for ever behind a cut cable. */
  end(): Promise<void>;
  /** Cuts the wire at once. */
  destroy(): void;
}

const CONNECTION = ['connectionString', 'host', 'port', 'database', 'user', 'password', 'ssl'] as const;

/** A password has no place in an error, and the driver's own errors about a connection string quote all of it. */
export function checkConnection(connection: PostgresConnection, provider: string, others: readonly string[]): void {
  if (typeof connection !== 'object' || connection === null) {
    throw new OptionError(`${provider} takes an object, for example ${provider}({ connectionString: process.env.DATABASE_URL }).`);
  }
  // A misspelled option would lead to whatever server the environment names.
  const known: readonly string[] = [...CONNECTION, ...others];
  const unknown = Object.keys(connection).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new OptionError(`${provider} has no option ${JSON.stringify(unknown)}. What there is: ${known.join(', ')}.`);
  const { connectionString } = connection;
  if (connectionString === undefined) hostsOf(connection);
  if ('connectionString' in connection && (typeof connectionString !== 'string' || connectionString === '')) {
    throw new OptionError(`The connectionString for ${provider} is empty: is the environment variable it comes from set?`);
  }
  if (connectionString === undefined) return;
  const beside = (['host', 'port', 'database', 'user', 'password'] as const).filter((field) => connection[field] !== undefined);
  if (beside.length > 0) {
    // The driver would heed the string alone.
    throw new OptionError(`Give ${provider} a connectionString or ${beside.join(', ')}, not both: it could not heed both.`);
  }
  try {
    if (!/^(?:postgres(?:ql)?|socket):\/\/|^\//i.test(connectionString)) throw new TypeError('another scheme');
    for (const host of hostsOf(connection)) createClient(host.connection);
  } catch (error) {
    if (error instanceof OptionError) throw error;
    // The URL cannot be read, or a file that it names; what the driver throws of either may hold the string.
    throw new OptionError(
      `The connectionString for ${provider} cannot be understood. It looks like postgres://user:password@host:5432/database, ` +
        'with special characters of the password percent-encoded.',
    );
  }
}

function createClient(connection: PostgresConnection): pg.Client {
  const { connectionString, host, port, database, user, password, ssl } = connection;
  // An undefined field would hide the default of the driver.
  const given = Object.entries({ connectionString, host, port, database, user, password, ssl }).filter(
    ([, value]) => value !== undefined,
  );
  return new pg.Client({ ...Object.fromEntries(given), keepAlive: true, keepAliveInitialDelayMillis: 5_000 });
}

/** Between two knocks at a server that is starting, in ms. */
const STARTING_MS = 50;

/**
 * Connects; a server that says that it is just starting, or recovering from a crash, is given the rest of the time. `onLost` is
 * called once, when the connection ends for whatever reason. `signal` ends the attempt, and not what has been connected.
 */
export async function connect(
  connection: PostgresConnection,
  timeoutMs: number,
  onLost: (error: Error) => void,
  signal: AbortSignal,
): Promise<PostgresClient> {
  for (const end = performance.now() + timeoutMs; ;) {
    signal.throwIfAborted();
    try {
      return await connectOnce(connection, Math.max(1, end - performance.now()), onLost, signal);
    } catch (error) {
      // cannot_connect_now
      if ((error as { code?: string }).code !== '57P03' || performance.now() + STARTING_MS > end) throw error;
      await delay(STARTING_MS, signal);
    }
  }
}

async function connectOnce(
  connection: PostgresConnection,
  timeoutMs: number,
  onLost: (error: Error) => void,
  signal: AbortSignal,
): Promise<PostgresClient> {
  const client = createClient(connection);
  // Not in the driver's types, and exchanged when TLS begins. node-postgres has no other way to cut the wire.
  const stream = (): Socket => (client as unknown as { connection: { stream: Socket } }).connection.stream;
  // A client without a listener for errors takes the process down (node-postgres issue 3260).
  let connected = false;
  // It takes no further question then, and the end of the connection may come a while later.
  client.on('error', (error) => connected && onLost(error));
  // The last words of a backend come before it lets go of its locks, and the end of the connection after that.
  const lastWords = (client as unknown as { connection: EventEmitter }).connection;
  lastWords.on('errorMessage', (message: Error & { code?: string }) => {
    if (connected && /^57P0[1-5]$/.test(message.code ?? '')) onLost(message);
  });
  client.on('end', () => connected && onLost(new Error('the connection ended')));

  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no connection within ${Math.round(timeoutMs)} ms`)), timeoutMs);
  });
  try {
    await unlessAborted(Promise.race([client.connect(), late]), signal);
    connected = true;
  } catch (error) {
    stream().destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }

  return {
    announcedPid: (client as unknown as { processID: number }).processID,
    async query(statement) {
      const result = await client.query<Row>(statement as pg.QueryConfig);
      // Several statements in one text give a result each; the last one is what was asked for.
      return (Array.isArray(result) ? (result as (typeof result)[]).at(-1)! : result).rows;
    },
    onNotification(listener) {
      client.on('notification', ({ channel, payload = '' }) => listener(channel, payload));
    },
    keepAlive(on) {
      if (on) stream().ref();
      else stream().unref();
    },
    end: () => client.end(),
    destroy: () => void stream().destroy(),
  };
}
