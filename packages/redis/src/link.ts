import { ProviderError } from '@solorun/core';
import { unlessAborted } from '@solorun/core/server';
import { connect, type Connection } from './client.ts';
import type { Script, Word } from './lua.ts';
import type { ConnectionOptions } from './options.ts';
import { observed } from './scripts.ts';
import { checkServer, clusterSize, parseInfo, type Server } from './server.ts';
import { observe, settled, type Settling } from './settling.ts';

/** A connection whose server has been looked at. */
export interface Link {
  readonly lost: AbortSignal;
  /** Keys lie on several servers, each with its own memory of leases. */
  readonly cluster: boolean;
  /** Keys are asked for one by one, since a node of a cluster refuses a question for several. */
  readonly oneByOne: boolean;
  readonly server: Server;
  readonly settling: Settling;
  /** Answers one reply per key, in their order. */
  run(script: Script, keys: readonly string[], words: readonly Word[], timeoutMs: number): Promise<readonly unknown[]>;
  /** The keys that match, some at a time, perhaps twice. */
  scan(pattern: string, timeoutMs: number, signal?: AbortSignal): AsyncIterable<readonly string[]>;
  end(): Promise<void>;
}

export interface LinkTerms {
  readonly kind: string;
  readonly connection: ConnectionOptions;
  /** Where it is kept for how long a server has been observed in charge. */
  readonly observedKey: string;
  /** False: it is granted from the first moment, whatever may have been forgotten. */
  readonly settles: boolean;
  readonly allowEviction: boolean;
  readonly timeoutMs: number;
}

const SCAN_COUNT = '1000';

/** @throws ProviderError, UnsupportedError */
export async function openLink(terms: LinkTerms): Promise<Link> {
  const { kind, connection: options, observedKey, settles, allowEviction, timeoutMs } = terms;
  let connection = await connect(options, timeoutMs);
  try {
    let server = await lookAt(kind, connection, timeoutMs);
    if (server.clustered && !connection.cluster && (server.standby || (await shards(connection, timeoutMs)) > 1)) {
      const nodes = await connection.wholeCluster(timeoutMs);
      await connection.end();
      connection = nodes;
      server = await lookAt(kind, connection, timeoutMs).catch((error: unknown) => unreachable(kind, error));
    }
    for (const each of server.all) checkServer(kind, each, allowEviction);
    const open = connection;
    const evaluated = (script: Script, keys: readonly string[], words: readonly Word[], ms: number): Promise<unknown> =>
      evaluate(open, script, keys, JSON.stringify(words), ms);
    const note = async (words: readonly Word[]): Promise<number> =>
      Number(await evaluated(observed, [observedKey], words, timeoutMs));
    return {
      lost: open.lost,
      cluster: open.cluster,
      oneByOne: server.clustered || open.cluster,
      server,
      settling: settles && server.told && !open.cluster ? await observe(server, note) : settled,
      run: (script, keys, words, ms) => evaluated(script, keys, words, ms) as Promise<readonly unknown[]>,
      scan: (pattern, ms, signal) => scan(open, pattern, ms, signal),
      end: () => open.end(),
    };
  } catch (error) {
    await connection.end();
    throw error;
  }
}

interface Servers extends Server {
  readonly all: readonly Server[];
}

/** Reads what the server says of itself; in a cluster, what one of the nodes says that are there. */
async function lookAt(kind: string, connection: Connection, timeoutMs: number): Promise<Servers> {
  const infos = await Promise.allSettled(
    connection.servers().map((wire) => connection.ask(() => wire.info(), timeoutMs).catch(untold)),
  );
  // Trouble with the first words (a password, a database) is known once something has been answered.
  connection.lost.throwIfAborted();
  // A node of a cluster that is away keeps nobody from locks on the others.
  const all = infos.flatMap((info) => (info.status === 'fulfilled' ? [parseInfo(info.value)] : []));
  for (const info of infos) if (info.status === 'rejected' && all.length === 0) throw info.reason;
  const [server] = all;
  if (server === undefined) throw new ProviderError(kind, 'connect', 'the cluster has no primary');
  return { ...server, all };
}

/** An empty answer to `INFO`: roles may be kept from asking, and administrators rename commands away; then nothing is known of the server. */
export function untold(error: unknown): string {
  if (/^NOPERM|unknown command/.test((error as Error).message)) return '';
  throw error;
}

/** Over how many primaries the keys of a cluster are spread. Where it may not be asked, one that is not alone says so for each key (MOVED). */
async function shards(connection: Connection, timeoutMs: number): Promise<number> {
  return clusterSize(await connection.ask((wire) => wire.cluster!('INFO'), timeoutMs).catch(untold));
}

function unreachable(kind: string, error: unknown): never {
  throw new ProviderError(
    kind,
    'connect',
    `the server belongs to a Redis Cluster, and its nodes cannot be reached at the addresses that it announces: ${(error as Error).message}. ` +
      'Pass a client that knows the way: { client: new Cluster([{ host, port }], { natMap, redisOptions: { tls, password } }) } of ioredis',
    { cause: error },
  );
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

async function* scan(
  connection: Connection,
  pattern: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): AsyncIterable<readonly string[]> {
  for (const server of connection.servers()) {
    let cursor = '0';
    do {
      const asking = connection.ask(() => server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT), timeoutMs);
      const [next, keys] = await unlessAborted(asking, signal);
      yield keys;
      cursor = next;
    } while (cursor !== '0');
  }
}
