// @ts-check
// Where the locks live. Replicas that are given the same store run each tick once.

import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lockfile } from '@solorun/lockfile';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';

/**
 * @typedef {{ kind: 'file', directory: string }
 *   | { kind: 'postgres' | 'postgres+lease' | 'redis', url: string | undefined }} Store `url` is undefined where only the kind was given.
 */

/**
 * @param {string} text
 * @returns {import('@solorun/core').LockProvider}
 */
export function openStore(text) {
  const store = parseStore(text);
  if (store.kind === 'file') return lockfile({ directory: store.directory });
  if (store.url === undefined) throw new Error(`The store ${store.kind} needs an address: ${store.kind}://user@host/database.`);
  if (store.kind === 'redis') return redis({ url: store.url });
  return (store.kind === 'postgres' ? postgresAdvisory : postgresLease)({ connectionString: store.url });
}

/**
 * @param {string} text
 * @returns {Store}
 * @throws if the store is of a kind that is not known here; without what may be a password
 */
export function parseStore(text) {
  const [, scheme = text, rest] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(text) ?? [];
  switch (scheme.toLowerCase()) {
    case 'file':
      if (rest === undefined || rest === '') throw new Error('The store file: needs a directory, for example file:./locks.');
      return { kind: 'file', directory: rest.startsWith('//') ? fileURLToPath(text) : resolve(rest) };
    case 'postgres':
    case 'postgresql':
      return { kind: 'postgres', url: addressOf('postgres', rest) };
    case 'postgres+lease':
    case 'postgresql+lease':
      return { kind: 'postgres+lease', url: addressOf('postgres', rest) };
    case 'redis':
      return { kind: 'redis', url: addressOf('redis', rest) };
    default:
      throw new Error(
        `This kind of store is not known: ${JSON.stringify(/^[a-z0-9+.-]*/i.exec(scheme)?.[0])}. What there is: ` +
          'file:DIR, a directory on this machine (file:./locks); postgres://…, postgres+lease://… and redis://…, a server.',
      );
  }
}

/**
 * A store as it may be shown: where the server is and who we are there, and nothing that could be a secret.
 *
 * @param {Store} store
 */
export function shown(store) {
  if (store.kind === 'file') return `file:${store.directory}`;
  if (store.url === undefined) return store.kind;
  const { username, host, pathname } = new URL(store.url);
  return `${store.kind}://${username === '' ? '' : `${username}@`}${host}${pathname}`;
}

/**
 * @param {'postgres' | 'redis'} server
 * @param {string | undefined} rest what follows the scheme
 */
function addressOf(server, rest) {
  if (rest === undefined) return undefined;
  const url = `${server}:${rest}`;
  if (!rest.startsWith('//') || !URL.canParse(url)) {
    const [name, like] = server === 'redis' ? ['Redis', 'redis://host:6379/0'] : ['Postgres', 'postgres://user@host:5432/database'];
    throw new Error(
      `The address of the ${name} server cannot be understood. It looks like ${like}; special characters of a password are ` +
        'percent-encoded.',
    );
  }
  return url;
}
