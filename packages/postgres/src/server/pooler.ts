import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { onceAborted, unlessAborted } from '@solorun/core/server';
import { connect, type PostgresClient, type PostgresConnection } from './client.ts';

/** The kind of pooler, if any, between us and the server. Only the first two keep a session's locks to the session. */
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
export async function findPath(connection: PostgresConnection, timeoutMs: number, signal: AbortSignal): Promise<Path> {
  const open: PostgresClient[] = [];
  const over = new AbortController();
  const unlink = onceAborted(signal, () => over.abort(signal.reason));
  try {
    return await unlessAborted(within(timeoutMs, look(connection, timeoutMs, open, over.signal)), over.signal);
  } finally {
    unlink();
    over.abort();
    for (const client of open) goodbye(client);
  }
}

async function look(connection: PostgresConnection, timeoutMs: number, open: PostgresClient[], signal: AbortSignal): Promise<Path> {
  const join = async (ms: number): Promise<PostgresClient> => {
    const client = await connect(connection, ms, () => {}, signal);
    // Nobody would end it any more.
    if (signal.aborted) client.destroy();
    open.push(client);
    return client;
  };
  const x = await join(timeoutMs);
  const px = await backend(x);
  const proxied = x.announcedPid !== px;
  const y = await join(proxied ? timeoutMs : Math.min(timeoutMs, SECOND_CONNECTION_MS)).catch((error: unknown) => {
    // Too many connections, or whatever: the first one is ours alone. Behind a pooler that is not known.
    if (proxied) throw error;
    return undefined;
  });
  if (y === undefined) return 'direct';
  const answer = backend(y);
  answer.catch(() => {});
  const isFree = isAnswered(answer).catch((error: unknown) => {
    if (proxied) throw error;
    return false;
  });
  if (!(await isFree)) {
    if (!proxied) return 'direct';
    if (await isAhead(x, px, answer)) return 'session pooling';
  }
  const py = await answer;
  if (proxied) {
    for (let round = 0; round < ROUNDS; round += 1) {
      try {
        await y.query({ text: 'BEGIN' });
      } catch (error) {
        if (isStatementPooling(error)) return 'statement pooling';
        throw error;
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
  return proxied ? 'session pooling' : 'direct';
}

/** Within the time that a second connection takes where it need not wait for the first one. Why it is not, it tells itself. */
async function isAnswered(answer: Promise<unknown>): Promise<boolean> {
  const end = new AbortController();
  const late = sleep(SECOND_CONNECTION_MS, false, { signal: end.signal });
  late.catch(() => {});
  return Promise.race([answer.then(() => true), late]).finally(() => end.abort());
}

/**
 * Another client waits for a backend. A pooler that hands them out by transaction would serve it first, so a client that is served
 * while it waits has one to itself.
 */
async function isAhead(x: PostgresClient, px: number, waiting: Promise<unknown>): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const pid = await Promise.race([backend(x), waiting.then(() => undefined)]);
    if (pid !== px) return false;
  }
  return true;
}

/** The answer of PgBouncer to BEGIN in statement mode. Any other failure says nothing about the mode. */
function isStatementPooling(error: unknown): boolean {
  return /statement pooling/.test((error as Error).message);
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
