import { setTimeout as sleep } from 'node:timers/promises';
import { OptionError } from '@solorun/core';
import { createAlarm } from '@solorun/core/server';
import { Cluster, Redis, type RedisOptions } from 'ioredis';

/** What is needed of a client of yours: that of ioredis 5 or 6, for one server, for sentinels or for a cluster. It is not used itself. */
export interface RedisClient {
  duplicate(...overrides: never[]): unknown;
  /** Tells it from the package redis's, which has a `duplicate` too. */
  evalsha(...words: never[]): unknown;
}

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
  end(reason?: Error): Promise<void>;
}

export interface ConnectionOptions {
  readonly url?: string | undefined;
  readonly client?: RedisClient | undefined;
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

/** @throws OptionError; nothing of the URL is in it */
export function checkConnection({ url, client }: ConnectionOptions): void {
  if ((url === undefined) === (client === undefined)) {
    throw new OptionError('redis() takes { url: process.env.REDIS_URL } or { client }, a client of ioredis; one of them.');
  }
  if (client !== undefined) {
    if (typeof client?.duplicate !== 'function' || typeof client.evalsha !== 'function') {
      throw new OptionError(
        "The client for redis() is one of ioredis's, a Redis or a Cluster, and of no other package; for a URL there is { url }.",
      );
    }
    return;
  }
  if (typeof url !== 'string' || url === '') {
    throw new OptionError('The url for redis() is empty: is the environment variable it comes from set?');
  }
  if (!/^rediss?:\/\//i.test(url) || !URL.canParse(url) || !isDecodable(new URL(url))) {
    throw new OptionError(
      'The url for redis() cannot be understood. It looks like redis://user:password@host:6379/0 (rediss:// for TLS), with special ' +
        'characters of the password percent-encoded.',
    );
  }
  const { hostname, pathname, searchParams } = new URL(url);
  if (hostname === '') {
    // ioredis would take the one on this machine: perhaps another one than everybody else's, if a variable was empty.
    throw new OptionError(
      'The url for redis() names no host: is a variable empty that it is made of? This machine is redis://localhost.',
    );
  }
  // ioredis would ask for the database NaN, and end the process when the server declines.
  const databases = [pathname.slice(1), ...searchParams.getAll('db')].filter((database) => database !== '');
  if (!databases.every((database) => /^\d{1,9}$/.test(database))) {
    throw new OptionError(
      'The url for redis() names a database that is not a number: Redis has 0 to 15, as in redis://host:6379/0.',
    );
  }
}

function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/** What the user's client puts before its keys; ours go on with it. */
export function keyPrefixOf({ client }: ConnectionOptions): string {
  const { options } = (client ?? {}) as { options?: { keyPrefix?: unknown; redisOptions?: { keyPrefix?: unknown } } };
  const prefix = options?.keyPrefix ?? options?.redisOptions?.keyPrefix;
  return typeof prefix === 'string' ? prefix : '';
}

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
  return connectionOn(wire, loss);
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

function connectionOn(wire: Wire, loss: AbortController): Connection {
  const cluster = wire.isCluster === true;
  const sockets = (): readonly (Socket | undefined)[] => (cluster ? wire.nodes!('all') : [wire]).map(({ stream }) => stream);
  const pending = new Set<Due>();
  let heardAt = 0;
  // A process that was stalled first reads what has arrived in the meantime.
  const alarm = createAlarm(performance, () => void setImmediate(endIfSilent));
  const endIfSilent = (): void => {
    const now = performance.now();
    for (const { askedAt, timeoutMs } of pending) {
      const dueAt = Math.max(askedAt, cluster ? 0 : heardAt) + timeoutMs;
      if (dueAt > now) alarm.at(dueAt);
      // What is behind it must not wait for ever, and what was sent may still be done: a new connection, a new start.
      else end(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
    }
  };
  // An open connection does not keep the process alive; an answer that is waited for does.
  for (const socket of sockets()) socket?.unref();

  let ended = false;
  function end(reason: Error): void {
    if (ended) return;
    ended = true;
    loss.abort(reason);
    // A goodbye may wait for ever behind a cut cable.
    for (const socket of sockets()) socket?.destroy();
    wire.disconnect();
  }

  return {
    cluster,
    lost: loss.signal,
    servers: () => (cluster ? wire.nodes!('master') : [wire]),
    ask(command, timeoutMs) {
      if (loss.signal.aborted) {
        return Promise.reject(Object.assign(new Error((loss.signal.reason as Error).message), { sent: false }));
      }
      const one = { askedAt: performance.now(), timeoutMs };
      pending.add(one);
      if (pending.size === 1) alarm.keepAlive(true);
      alarm.at(one.askedAt + timeoutMs);
      const over = (): void => {
        heardAt = performance.now();
        pending.delete(one);
        if (pending.size > 0) return;
        alarm.keepAlive(false);
        wire.subscriber?.getInstance?.()?.stream?.unref();
      };
      return command(wire).then(
        (answer) => {
          over();
          return answer;
        },
        (error: unknown) => {
          over();
          const said = plain(error);
          // It follows another one now, or other nodes of a cluster have keys of its own. Where it is looked for (a name, sentinels) there
          // may be the new one; and should it lead again, it must be looked at again.
          if (said.answered && /^(?:READONLY|MOVED) /.test(said.message)) end(said);
          throw loss.signal.aborted && said.sent && !said.answered ? loss.signal.reason : said;
        },
      );
    },
    wholeCluster: (timeoutMs) => openWire(clusterOf(wire, timeoutMs), timeoutMs),
    onMessage: (listener) => void wire.on('message', (channel) => listener(channel)),
    async end(reason = new Error('the connection was closed')) {
      end(reason);
    },
  };
}

/** An error of ioredis's without the command that it carries along: with AUTH, that is the password. */
function plain(error: unknown): Error & { readonly answered: boolean; readonly sent: boolean } {
  const { code, name, message } = error as { code?: unknown; name?: string; message?: string };
  const answered = name === 'ReplyError';
  // In these words ioredis says that it has no connection to send it on.
  const sent = message?.includes('enableOfflineQueue options is false') !== true;
  return Object.assign(new Error(message ?? String(error)), { answered, sent, ...(typeof code === 'string' ? { code } : {}) });
}
