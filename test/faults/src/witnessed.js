// @ts-check

import { now } from './journal.js';

/** @import { LockProvider } from '@solorun/core' */

/**
 * A provider, and since when each of its leases counts at the latest: a clock of the worker's own beside that of the lease.
 *
 * @param {LockProvider} provider
 * @returns {{ provider: LockProvider, sentAt: (fence: bigint, name: string) => number | undefined }}
 */
export function witnessed(provider) {
  /** @type {Map<string, number>} */
  const sent = new Map();
  /** @type {LockProvider['tryAcquire']} */
  const tryAcquire = async (request, signal) => {
    const t = now();
    const result = await provider.tryAcquire(request, signal);
    if (result.acquired) sent.set(`${result.grant.fence} ${request.name}`, t);
    return result;
  };
  const seen = new Proxy(provider, {
    get(target, key) {
      if (key === 'tryAcquire') return tryAcquire;
      const value = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { provider: seen, sentAt: (fence, name) => sent.get(`${fence} ${name}`) };
}
