import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OptionError, type LockProvider } from '@solorun/core';
import { parseDuration } from './duration.ts';
import { Ending } from './exit.ts';
import { plain } from './show.ts';

/** Where locks are kept, before anything is loaded or asked. */
export interface Store {
  readonly scheme: 'file' | 'postgres' | 'postgres+lease' | 'redis' | 'memory';
  /** As it may be shown: without user and password. */
  readonly shown: string;
  /** For the driver of a server. */
  readonly connectionString?: string;
  open(options: { readonly onWarning: (message: string) => void }): Promise<LockProvider>;
}

const EXAMPLES = 'file:/var/lib/app/locks, postgres://host/database, postgres+lease://host/database or redis://host';
const LATER = ['s3', 'gs', 'gcs', 'az', 'azure', 'sftp', 'mysql', 'mongodb', 'etcd', 'consul'];

/**
 * @param url the value of `--store` or `SOLORUN_STORE`; undefined: a directory of this user's
 * @throws Ending, which never holds a password
 */
export function parseStore(url: string | undefined, env: NodeJS.ProcessEnv): Store {
  if (url === undefined) return fileStore(defaultDirectory(env));
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'file':
      return fileStore(directoryOf(url));
    case 'postgres':
    case 'postgresql':
      return postgresStore('postgres', url);
    case 'postgres+lease':
    case 'postgresql+lease':
      return postgresStore('postgres+lease', url.replace(/\+lease/i, ''));
    case 'redis':
    case 'rediss':
      return redisStore(url);
    case 'memory':
      return memoryStore();
    case undefined: {
      // A text with an @ may be the rest of a URL, with a password.
      const path = /^[./][^@]*$/.test(url);
      throw wrong(path ? `A store is a URL: write file:${plain(url)}` : `A store is a URL, such as ${EXAMPLES}`);
    }
    default: {
      const later = LATER.includes(scheme) ? ' yet' : '';
      throw wrong(`There is no store for ${scheme}:${later}. What there is: ${EXAMPLES}`);
    }
  }
}

function wrong(message: string): Ending {
  return new Ending('usage', `${message}.`);
}

/** The state directory of this user, where the XDG specification, macOS or Windows want it. @throws Ending */
function defaultDirectory(env: NodeJS.ProcessEnv): string {
  const { XDG_STATE_HOME: state = '', LOCALAPPDATA: local = '' } = env;
  if (process.platform === 'win32') return join(isAbsolute(local) ? local : home(), 'solorun');
  if (isAbsolute(state)) return join(state, 'solorun');
  return process.platform === 'darwin' ? join(home(), 'Library/Application Support/solorun') : join(home(), '.local/state/solorun');
}

function home(): string {
  const without = (why: string, options?: ErrorOptions): Ending =>
    new Ending(
      'usage',
      `There is no directory to keep locks in: ${why}. Give --store or SOLORUN_STORE, or set HOME or XDG_STATE_HOME.`,
      options,
    );
  let directory: string;
  try {
    directory = homedir();
  } catch (error) {
    // No HOME, and a user id without an entry, as in a container that was started with one.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR') throw error;
    throw without(`HOME is not set, and the user with id ${process.getuid?.()} is not known here`, { cause: error });
  }
  // A relative one would be another store in each working directory.
  if (!isAbsolute(directory)) throw without(`HOME is ${JSON.stringify(plain(directory))}`);
  return directory;
}

function directoryOf(url: string): string {
  const rest = url.slice('file:'.length);
  if (rest === '') throw wrong('file: needs a directory, for example file:/var/lib/app/locks');
  if (!rest.startsWith('//')) return rest;
  try {
    return fileURLToPath(url);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const named = url.includes('@') ? 'file://…' : plain(url);
    throw wrong(`${named} names no directory of this machine: write file:///path or file:path`);
  }
}

function fileStore(directory: string): Store {
  return {
    scheme: 'file',
    shown: plain(`file:${directory}`),
    async open() {
      const { lockfile } = await import('@solorun/lockfile');
      return opened(() => lockfile({ directory }));
    },
  };
}

/** @param keyspace which locks: ours, or those of the npm package advisory-lock */
export function postgresStore(
  scheme: 'postgres' | 'postgres+lease',
  asked: string,
  keyspace: 'solorun' | 'advisory-lock' = 'solorun',
): Store {
  checkWhole(asked);
  const { url: connectionString, settleMs } = takeSettle(asked);
  if (scheme === 'postgres+lease' && settleMs !== undefined) {
    throw wrong(
      'There is no settle= for postgres+lease://, as there is nothing to wait for: a lease row is written before it is granted, so a crash of the server forgets none',
    );
  }
  return {
    scheme,
    shown: withoutCredentials(connectionString, scheme),
    connectionString,
    async open({ onWarning }) {
      const { postgresAdvisory, postgresLease } = await load('@solorun/postgres', 'pg', () => import('@solorun/postgres'));
      return opened(() =>
        scheme === 'postgres'
          ? postgresAdvisory({ connectionString, onWarning, keyspace, settleMs })
          : postgresLease({ connectionString }),
      );
    },
  };
}

function redisStore(asked: string): Store {
  checkWhole(asked);
  const { url, settleMs } = takeSettle(asked);
  return {
    scheme: 'redis',
    shown: withoutCredentials(url, 'redis'),
    connectionString: url,
    async open() {
      const { redis } = await load('@solorun/redis', 'ioredis', () => import('@solorun/redis'));
      return opened(() => redis({ url, settleMs }));
    },
  };
}

/** `?settle=0s` is ours; all else there is the driver's. It belongs to the server, and so to its URL. */
function takeSettle(url: string): { readonly url: string; readonly settleMs: number | undefined } {
  // The driver takes several hosts, which are no URL to us.
  const [, before, query, after] = /^([^?#]*)\?([^#]*)(.*)$/s.exec(url) ?? [];
  const settle = new URLSearchParams(query).get('settle');
  if (query === undefined || settle === null) return { url, settleMs: undefined };
  const rest = query.split('&').filter((parameter) => !parameter.startsWith('settle='));
  return {
    url: `${before}${rest.length > 0 ? `?${rest.join('&')}` : ''}${after}`,
    settleMs: parseDuration(settle, 'settle= of the store'),
  };
}

function memoryStore(): Store {
  return {
    scheme: 'memory',
    shown: 'memory:',
    open: async () => (await import('@solorun/core/memory')).memory(),
  };
}

/** Reports a store whose URL cannot work as trouble of the store, like a store that cannot be reached. */
function opened(open: () => LockProvider): LockProvider {
  try {
    return open();
  } catch (error) {
    if (error instanceof OptionError) throw new Ending('store', plain(error.message), { cause: error });
    throw error;
  }
}

/**
 * Packages for servers are installed by their users.
 *
 * @throws Ending that says how
 */
async function load<T>(name: string, driver: string, importIt: () => Promise<T>): Promise<T> {
  try {
    return await importIt();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' || ![name, driver].some((missing) => message.includes(`'${missing}'`))) throw error;
    throw new Ending(
      'store',
      `This store needs a package that is not installed: npm install ${name} ${driver} (with -g if @solorun/cli was).`,
      { cause: error },
    );
  }
}

/**
 * A `/` or `#` in a password ends the host: the rest would go to the server as the name of a database, and come back in its errors.
 *
 * @throws Ending
 */
function checkWhole(connectionString: string): void {
  if (!URL.canParse(connectionString)) return;
  const { pathname, hash } = new URL(connectionString);
  if (!`${pathname}${hash}`.includes('@')) return;
  throw wrong(
    'The URL of the store has an @ behind its host. In a user, a password or the name of a database write %2F for /, %23 for #, %3F for ? and %40 for @',
  );
}

/** A connection string without everything that may be secret. */
function withoutCredentials(connectionString: string, scheme: string): string {
  const hidden = `${scheme}://…`;
  if (!URL.canParse(connectionString)) return hidden;
  const { host, pathname, search, hash } = new URL(connectionString);
  // With a ? in a password, its beginning looks like the port.
  return `${pathname}${search}${hash}`.includes('@') ? hidden : plain(`${scheme}://${host}${pathname}`);
}
