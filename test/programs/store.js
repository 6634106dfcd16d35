// @ts-check
import { fileURLToPath } from 'node:url';

/** @import { LockProvider } from '@solorun/core' */
/** @import { LocalLockOptions } from '@solorun/lockfile' */

/**
 * Opens the provider that a program was given on its command line: `file:///directory`, `postgres://…` (session locks),
 * `postgres+lease://…` (lease rows) or `redis://…` (`?settleMs=` as the provider's option, for session locks too).
 *
 * @param {string} store
 * @returns {Promise<LockProvider>}
 */
export async function openStore(store) {
  // Where there are several hosts it is no URL to Node.js: what is asked of it below is the same with the first.
  const url = new URL(store.replace(/(:\/\/[^/,]*),[^/]*/, '$1'));
  if (url.protocol === 'file:') {
    const { lockfile } = await import('@solorun/lockfile');
    const crashDetection = /** @type {LocalLockOptions['crashDetection']} */ (url.searchParams.get('crashDetection') ?? undefined);
    return lockfile({ directory: fileURLToPath(url), crashDetection });
  }
  if (url.protocol === 'redis:') {
    const { redis } = await import('@solorun/redis');
    const settleMs = url.searchParams.get('settleMs');
    url.search = '';
    return redis({ url: url.href, ...(settleMs === null ? {} : { settleMs: Number(settleMs) }) });
  }
  const { postgresAdvisory, postgresLease } = await import('@solorun/postgres');
  const settleMs = url.searchParams.get('settleMs');
  const connectionString = store.replace(/^postgres(?:\+lease)?:/, 'postgresql:').replace(/\?settleMs=\d+$/, '');
  switch (url.protocol) {
    case 'postgres:':
      return postgresAdvisory({ connectionString, ...(settleMs === null ? {} : { settleMs: Number(settleMs) }) });
    case 'postgres+lease:':
      return postgresLease({ connectionString });
    default:
      throw new Error(`no store is called ${url.protocol}`);
  }
}
