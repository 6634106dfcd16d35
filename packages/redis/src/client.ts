import { setTimeout as sleep } from 'node:timers/promises';
import { Deadlines, neverSent } from '@solorun/core/server';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { ConnectionOptions, RedisClient } from './options.ts';

/** One client of ioredis that is ours alone, as far as it is used. Both `Redis` and `Cluster` have this. */
interface Wire {
  readonly isCluster?: boolean;
  readonly stream?: Socket;
  connect(): Promise<void>;
  disconnect(): void;
  readonly options?: Partial<RedisOptions>;
  info(): Promise<string>;
  cluster?(word: 'INFO'): Promise<string>;
  evalsha(sha: string, keys: number, ...words: string[]): Promise<unknown>;
  eval(lua: string, keys: number, ...words: string[]): Promise<unknown>;
  scan(cursor: string, ...words: string[]): Promise<[string, string[]]>;
  subscribe(...channels: string[]): Promise<unknown>;
  unsubscribe(...channels: string[]): Promise<unknown>;
  nodes?(role: 'master' | 'all'): Wire[];
  /** A cluster's own connection for messages, made by the first `subscribe`. Not public, but the same in ioredis 5 and 6. */
  readonly subscriber?: { getInstance?(): Pick<Wire, 'stream'> | null };
  on(event: '+node', listener: (node: Wire) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready', listener: () => void): unknown;
  on(event: 'message', listener: (channel: string) => void): unknown;
  once(event: 'end', listener: () => void): unknown;
}

interface Socket {
  unref(): unknown;
  destroy(): unknown;
}

/** One connection, from its beginning to its end: it never opens again by itself, so all that is known of its server stays true. */
export interface Connection {
  readonly cluster: boolean;
  /** Aborts when it has ended, with the reason as an error. */
  readonly lost: AbortSignal;
  /**
   * Runs a command. The whole connection ends if nothing at all is heard on it for so long while an answer is due; a server that is slow
   * and still answers something is alive. In a cluster, where one node may be silent and the others not, each answer is due by itself.
   */
  ask<T>(command: (wire: Wire) => Promise<T>, timeoutMs: number): Promise<T>;
  /** The servers of a cluster that keys are on, or the only one. */
  servers(): readonly Wire[];
  /** All nodes of the cluster that the only server belongs to, reached in the same way. */
  wholeCluster(timeoutMs: number): Promise<Connection>;
  onMessage(listener: (channel: string) => void): void;
  end(): Promise<void>;
}

/** A question that has not been answered. */
interface Due {
  readonly askedAt: number;
  readonly timeoutMs: number;
}

/** It is ours to open again, and to be sure on whom we call; a client's own queues and retries would hide that. */
const own = {
  lazyConnect: true,
  retryStrategy: null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  // INFO is asked and read by ourselves.
  enableReadyCheck: false,
  // Makes locks that are taken one by one half as slow again (measured on ioredis 6.0).
  enableAutoPipelining: false,
  // Each answer has a time-out of ours.
  commandTimeout: undefined,
  blockingTimeout: undefined,
  socketTimeout: undefined,
  // Kept even when the socket has closed already, and with it the process: 2 s by default.
  disconnectTimeout: 0,
  keyPrefix: '',
  readOnly: false,
  monitor: false,
  stringNumbers: false,
  disableClientInfo: true,
  connectionName: 'solorun',
};

export async function connect({ url, client }: ConnectionOptions, timeoutMs: number): Promise<Connection> {
  const options = { ...own, connectTimeout: timeoutMs };
  const wire = url === undefined ? duplicate(client!, options) : new Redis(withoutOurs(url, options), options);
  return openWire(wire as Wire, timeoutMs);
}

async function openWire(wire: Wire, timeoutMs: number): Promise<Connection> {
  const loss = new AbortController();
  let reason: Error | undefined;
  // A client goes on after some errors, such as a database that there is not: it would lock in another one.
  wire.on('error', (error) => {
    reason ??= plain(error);
    wire.disconnect();
    loss.abort(reason);
  });
  // A cluster connects to a node when it is first asked something, and again after that has been away.
  wire.on('+node', (node) => node.on('ready', () => node.stream?.unref()));
  wire.once('end', () => loss.abort(reason ?? new Error('the connection ended')));
  const late = new AbortController();
  try {
    await Promise.race([
      wire.connect(),
      sleep(timeoutMs, undefined, { signal: late.signal, ref: false }).then(() => {
        throw new Error(`no connection within ${Math.round(timeoutMs)} ms`);
      }),
    ]);
  } catch (error) {
    wire.disconnect();
    // Its own words are only that it is closed; why, it has said before.
    throw reason ?? plain(error);
  } finally {
    late.abort();
  }
  return new OneConnection(wire, loss);
}

/** ioredis takes options out of a URL, before those that it is given, and as text: a time-out that is text is thrown at the process. */
function withoutOurs(url: string, ours: object): string {
  const parsed = new URL(url);
  for (const option of Object.keys(ours)) parsed.searchParams.delete(option);
  return parsed.href;
}

function duplicate(client: RedisClient, options: typeof own): Wire {
  const copy = (...overrides: unknown[]): Wire => client.duplicate(...(overrides as never[])) as Wire;
  if ((client as { isCluster?: boolean }).isCluster !== true) return copy(options);
  const { redisOptions } = (client as { options?: { redisOptions?: object } }).options ?? {};
  return copy([], ownCluster({ ...redisOptions, ...options }));
}

/** @param redisOptions of each of its connections, ours included */
function ownCluster(redisOptions: RedisOptions): object {
  const { lazyConnect, enableOfflineQueue, enableReadyCheck, keyPrefix, enableAutoPipelining } = own;
  // Its ready check asks any one node, and when that is the one that is away, `connect()` never comes to an end.
  const options = {
    lazyConnect,
    enableOfflineQueue,
    enableReadyCheck,
    keyPrefix,
    enableAutoPipelining,
    clusterRetryStrategy: null,
  };
  return { ...options, redisOptions };
}

/** The cluster of a node, reached with the same password and in the same way. */
function clusterOf({ options = {} }: Wire, timeoutMs: number): Wire {
  const { host, port, username, password, tls, family } = options;
  const way = { username, password, tls, family } as RedisOptions;
  const cluster = ownCluster({ ...way, ...own, connectTimeout: timeoutMs });
  // A certificate is for a node's name, not for its address.
  const named =
    tls === undefined ? {} : { dnsLookup: (name: string, found: (error: null, name: string) => void) => found(null, name) };
  return new Cluster([{ host: host!, port: port! }], { ...cluster, ...named }) as unknown as Wire;
}

class OneConnection implements Connection {
  readonly cluster: boolean;
  readonly lost: AbortSignal;
  readonly #wire: Wire;
  readonly #loss: AbortController;
  readonly #due: Deadlines<Due>;
  #hasEnded = false;
  /** When the newest answer came, by `performance.now()`. */
  #heardAt = 0;

  constructor(wire: Wire, loss: AbortController) {
    this.#wire = wire;
    this.#loss = loss;
    this.cluster = wire.isCluster === true;
    this.lost = loss.signal;
    this.#due = new Deadlines({
      dueAt: ({ askedAt, timeoutMs }) => Math.max(askedAt, this.cluster ? 0 : this.#heardAt) + timeoutMs,
      // Questions behind it must not wait for ever, and those that were sent may still be done: a new connection, a new start.
      expire: ({ timeoutMs }) => this.#end(new Error(`no answer within ${Math.round(timeoutMs)} ms`)),
      readFirst: true,
    });
    // An open connection does not keep the process alive; an answer that is waited for does.
    for (const socket of this.#sockets()) socket?.unref();
  }

  servers(): readonly Wire[] {
    return this.cluster ? this.#wire.nodes!('master') : [this.#wire];
  }

  ask<T>(command: (wire: Wire) => Promise<T>, timeoutMs: number): Promise<T> {
    if (this.lost.aborted) return Promise.reject(neverSent(new Error((this.lost.reason as Error).message)));
    const due = { askedAt: performance.now(), timeoutMs };
    this.#due.add(due);
    return command(this.#wire).then(
      (answer) => {
        this.#answered(due);
        return answer;
      },
      (error: unknown) => {
        this.#answered(due);
        throw this.#failed(error);
      },
    );
  }

  wholeCluster(timeoutMs: number): Promise<Connection> {
    return openWire(clusterOf(this.#wire, timeoutMs), timeoutMs);
  }

  onMessage(listener: (channel: string) => void): void {
    this.#wire.on('message', (channel) => listener(channel));
  }

  async end(): Promise<void> {
    this.#end(new Error('the connection was closed'));
  }

  #sockets(): readonly (Socket | undefined)[] {
    return (this.cluster ? this.#wire.nodes!('all') : [this.#wire]).map(({ stream }) => stream);
  }

  #answered(due: Due): void {
    this.#heardAt = performance.now();
    this.#due.delete(due);
    if (this.#due.size === 0) this.#wire.subscriber?.getInstance?.()?.stream?.unref();
  }

  /** The error that the caller of a failed command gets. */
  #failed(error: unknown): Error {
    const said = plain(error);
    // The server follows another one now, or other nodes of a cluster have keys of its own. Where it is looked for (a name, sentinels) the
    // new one may be found; and should the server lead again, it must be looked at again.
    if (said.answered && /^(?:READONLY|MOVED) /.test(said.message)) this.#end(said);
    return this.lost.aborted && said.sent && !said.answered ? (this.lost.reason as Error) : said;
  }

  #end(reason: Error): void {
    // Each of many answers may ask for it.
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#loss.abort(reason);
    // A goodbye may wait for ever behind a cut cable.
    for (const socket of this.#sockets()) socket?.destroy();
    this.#wire.disconnect();
  }
}

/** An error of ioredis's without the command that it carries along: with AUTH, that is the password. */
function plain(error: unknown): Error & { readonly answered: boolean; readonly sent: boolean } {
  const { code, name, message } = error as { code?: unknown; name?: string; message?: string };
  const answered = name === 'ReplyError';
  // In these words ioredis says that it has no connection to send it on.
  const sent = message?.includes('enableOfflineQueue options is false') !== true;
  return Object.assign(new Error(message ?? String(error)), { answered, sent, ...(typeof code === 'string' ? { code } : {}) });
}
