// @ts-check
// Where the locks live, by URL. Replicas that are given the same store run each tick once.

import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lockfile } from '@solorun/lockfile';

/**
 * @param {string} url
 * @returns {import('@solorun/core').LockProvider}
 */
export function openStore(url) {
  return lockfile({ directory: directoryOf(url) });
}

/**
 * @param {string} url
 * @returns {string} the directory of a `file:` store
 * @throws if the store is of a kind that is not known here
 */
export function directoryOf(url) {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*):(.*)$/i.exec(url) ?? [];
  if (scheme?.toLowerCase() !== 'file') {
    throw new Error(
      `The store ${JSON.stringify(url)} is not known. What there is: file:DIR, a directory on this machine (file:./locks).`,
    );
  }
  if (rest === undefined || rest === '') throw new Error('The store file: needs a directory, for example file:./locks.');
  return rest.startsWith('//') ? fileURLToPath(url) : resolve(rest);
}
