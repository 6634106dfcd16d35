import { randomBytes } from 'node:crypto';
import { connect, type PostgresClient, type PostgresConnection } from './client.ts';

/** What stands between us and the server. Only the first two keep a session's locks to the session. */
export type Path =
  | 'direct'
  | 'session pooling'
  | 'transaction pooling'
  | 'statement pooling'
  | 'one shared backend'
  | 'no real locks';

const ROUNDS = 3;
/** A second connection that has to wait for the first one is a session pool that is full. */
const SECOND_CONNECTION_MS = 800;

/**
 * Looks with two connections. A pooler announces a process id that is not the backend's, whatever its mode; two sessions that get
 * the same backend, or one that is moved while the other is in a transaction, tell the mode. And a lock that one of them takes must
 * be refused to the other: some engines that speak the protocol only pretend.
 */
export async function findPath(connection: PostgresConnection, timeoutMs: number): Promise<Path> {
  const open: PostgresClient[] = [];
  try {
    return await within(timeoutMs, look(connection, timeoutMs, open));
  } finally {
    for (const client of open) goodbye(client);
  }
}

async function look(connection: PostgresConnection, timeoutMs: number, open: PostgresClient[]): Promise<Path> {
  const join = async (ms: number): Promise<PostgresClient> => {
    const client = await connect(connection, ms, () => {});
    open.push(client);
    return client;
  };
  const x = await join(timeoutMs);
  const px = await backend(x);
  let y: PostgresClient;
  let py: number;
  try {
    y = await join(Math.min(timeoutMs, SECOND_CONNECTION_MS));
    py = await within(SECOND_CONNECTION_MS, backend(y));
  } catch (error) {
    // Too many connections, or a session pool of one: the first one then is ours alone.
    if (x.announcedPid === px) return 'direct';
    if (isRefusal(error)) throw error;
    return 'session pooling';
  }
  if (x.announcedPid !== px) {
    for (let round = 0; round < ROUNDS; round += 1) {
      try {
        await y.query({ text: 'BEGIN' });
      } catch {
        return 'statement pooling';
      }
      // Before the next statement of x: a pool of one would make x wait for y.
      if ((await backend(y)) === px) return 'transaction pooling';
      if ((await backend(x)) !== px) return 'transaction pooling';
      await y.query({ text: 'ROLLBACK' });
    }
  } else if (py === px) {
    return 'one shared backend';
  }
  const key = String(randomBytes(8).readBigInt64BE(0));
  const take = { text: `SELECT pg_try_advisory_lock(${key})::text AS got` };
  await x.query(take);
  const [other] = await y.query(take);
  await x.query({ text: `SELECT pg_advisory_unlock(${key})::text AS freed` });
  if (other?.['got'] !== 'false') return 'no real locks';
  return x.announcedPid === px ? 'direct' : 'session pooling';
}

async function backend(client: PostgresClient): Promise<number> {
  const [row] = await client.query({ text: 'SELECT pg_backend_pid()::text AS pid' });
  return Number(row?.['pid']);
}

/** Politely, so that the server's log does not tell of clients that vanished; but nobody waits for it. */
function goodbye(client: PostgresClient): void {
  client.keepAlive(false);
  const impatience = setTimeout(() => client.destroy(), 1_000).unref();
  client.end().then(
    () => clearTimeout(impatience),
    () => client.destroy(),
  );
}

/** The server said no (a wrong password for a second time, say), rather than nothing. */
function isRefusal(error: unknown): boolean {
  return ((error as { code?: string }).code ?? '').startsWith('28');
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms, when looking for poolers`)), ms);
  });
  promise.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
