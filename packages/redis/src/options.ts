import { OptionError } from '@solorun/core';

/** A client of yours: of ioredis 5 or 6, for one server, for sentinels or for a cluster. It is not used itself. */
export interface RedisClient {
  duplicate(...overrides: never[]): unknown;
  /** Tells it from the package redis's, which has a `duplicate` too. */
  evalsha(...words: never[]): unknown;
}

export interface ConnectionOptions {
  readonly url?: string | undefined;
  readonly client?: RedisClient | undefined;
}

export interface RedisOptions extends ConnectionOptions {
  /** `redis://user:password@host:6379/0`, `rediss://` for TLS. Never shown: not in errors, events, records or process titles. */
  readonly url?: string | undefined;
  /**
   * A client of ioredis 5 or 6 that knows the way (sentinels, a cluster, TLS, a socket): its options are used for connections of our
   * own, its `keyPrefix` included. It is not used itself, nor closed.
   */
  readonly client?: ConnectionOptions['client'];
  /** The beginning of all our keys and channels. Programs that share locks use the same. @default 'solorun' */
  readonly prefix?: string | undefined;
  /**
   * How long a server that has just been started, or has just taken over from another one, grants nothing, in ms: what it may have
   * forgotten must be over first. 0 where nothing can be forgotten or overlap: in tests, or with `appendfsync always` and no replica
   * that takes over. @default the lease that is asked for
   */
  readonly settleMs?: number | undefined;
  /** Accepts a server that throws away keys when its memory is full: locks, fences and occurrences may then be forgotten. @default false */
  readonly allowEviction?: boolean | undefined;
}

const OPTIONS = ['url', 'client', 'prefix', 'settleMs', 'allowEviction'];

/** @throws OptionError */
export function checkOptions(options: RedisOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError('redis() takes an object, for example redis({ url: process.env.REDIS_URL }).');
  }
  // A misspelled option would be one that is not heeded.
  const unknown = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (unknown !== undefined) {
    throw new OptionError(`redis() has no option ${JSON.stringify(unknown)}. What there is: ${OPTIONS.join(', ')}.`);
  }
  checkConnection(options);
  const { prefix } = options;
  if (prefix !== undefined && (typeof prefix !== 'string' || prefix === '' || !prefix.isWellFormed())) {
    throw new OptionError('The prefix of redis() is a string that is not empty.');
  }
  const { settleMs } = options;
  if (settleMs !== undefined && !(typeof settleMs === 'number' && settleMs >= 0 && settleMs <= 2 ** 31 - 1)) {
    throw new OptionError(`settleMs is a number of milliseconds from 0, not ${String(settleMs)}.`);
  }
}

/** @throws OptionError; nothing of the URL is in it */
function checkConnection({ url, client }: ConnectionOptions): void {
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

/** The prefix that the user's client puts before its keys; ours go on with it. */
export function keyPrefixOf({ client }: ConnectionOptions): string {
  const { options } = (client ?? {}) as { options?: { keyPrefix?: unknown; redisOptions?: { keyPrefix?: unknown } } };
  const prefix = options?.keyPrefix ?? options?.redisOptions?.keyPrefix;
  return typeof prefix === 'string' ? prefix : '';
}
