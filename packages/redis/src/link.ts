import { ProviderError } from '@solorun/core';
import { connect, type Connection, type ConnectionOptions } from './client.ts';
import { serving, type Script, type Word } from './scripts.ts';
import { checkServer, parseInfo, type Server } from './server.ts';

/** A connection whose server has been looked at. */
export interface Link {
  readonly lost: AbortSignal;
  readonly cluster: boolean;
  readonly server: Server;
  /**
   * How long until leases of this length that the server may have forgotten, or never heard of, are over, in ms. A server that
   * has just been started, or has just taken over from one that it followed, must not grant what may still be held: its holder
   * hears of nothing and trusts its lease to the end.
   */
  settlesInMs(leaseMs: number): number;
  /** Answers one reply per key, in their order. */
  run(script: Script, keys: readonly string[], words: readonly Word[], timeoutMs: number): Promise<readonly unknown[]>;
  /** The keys that match, some at a time, perhaps twice. */
  scan(pattern: string, timeoutMs: number): AsyncIterable<readonly string[]>;
  end(): Promise<void>;
}

export interface LinkTerms {
  readonly kind: string;
  readonly connection: ConnectionOptions;
  /** Where it is remembered since when a server has been in charge. */
  readonly servingKey: string;
  readonly allowEviction: boolean;
  readonly timeoutMs: number;
}

const SCAN_COUNT = '1000';

/** @throws ProviderError, UnsupportedError */
export async function openLink({ kind, connection: options, servingKey, allowEviction, timeoutMs }: LinkTerms): Promise<Link> {
  const connection = await connect(options, timeoutMs);
  try {
    const infos = await Promise.allSettled(
      connection.servers().map((wire) => connection.ask(() => wire.info(), timeoutMs).catch(untold)),
    );
    // What went wrong with the first words (a password, a database) is known once something has been answered.
    connection.lost.throwIfAborted();
    // A node of a cluster that is away keeps nobody from locks on the others.
    const servers = infos.flatMap((info) => (info.status === 'fulfilled' ? [parseInfo(info.value)] : []));
    for (const info of infos) if (info.status === 'rejected' && servers.length === 0) throw info.reason;
    for (const server of servers) checkServer(kind, server, allowEviction);
    const [server] = servers;
    if (server === undefined) throw new ProviderError(kind, 'connect', 'the cluster has no primary');
    const askedAt = performance.now();
    const ageMs = connection.cluster ? undefined : await ageOf(connection, server, servingKey, timeoutMs);
    return {
      lost: connection.lost,
      cluster: connection.cluster,
      server,
      settlesInMs: (leaseMs) => (ageMs === undefined ? 0 : Math.max(0, leaseMs - ageMs - (performance.now() - askedAt))),
      run: (script, keys, words, ms) =>
        evaluate(connection, script, keys, JSON.stringify(words), ms) as Promise<readonly unknown[]>,
      scan: (pattern, ms) => scan(connection, pattern, ms),
      end: () => connection.end(),
    };
  } catch (error) {
    await connection.end();
    throw error;
  }
}

/** Roles may be kept from asking; then nothing is known of the server. */
function untold(error: unknown): string {
  if ((error as Error).message.startsWith('NOPERM')) return '';
  throw error;
}

/** For how long it has surely been the one that decides, in ms; undefined if it does not tell. */
async function ageOf(connection: Connection, server: Server, key: string, timeoutMs: number): Promise<number | undefined> {
  const { promoted, uptimeMs, replicationId } = server;
  if (!promoted || replicationId === undefined) return uptimeMs;
  return Number(await evaluate(connection, serving, [key], replicationId, timeoutMs));
}

/** By its digest; with its text where the server does not know it (yet, or after a flush). */
function evaluate(
  connection: Connection,
  { lua, sha }: Script,
  keys: readonly string[],
  words: string,
  timeoutMs: number,
): Promise<unknown> {
  return connection
    .ask((wire) => wire.evalsha(sha, keys.length, ...keys, words), timeoutMs)
    .catch((error: unknown) => {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
      return connection.ask((wire) => wire.eval(lua, keys.length, ...keys, words), timeoutMs);
    });
}

async function* scan(connection: Connection, pattern: string, timeoutMs: number): AsyncIterable<readonly string[]> {
  for (const server of connection.servers()) {
    let cursor = '0';
    do {
      const [next, keys] = await connection.ask(() => server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT), timeoutMs);
      yield keys;
      cursor = next;
    } while (cursor !== '0');
  }
}
