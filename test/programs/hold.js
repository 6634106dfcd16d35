// @ts-check
// Holds a lock, and others that it is told of on stdin (`acquire NAME`, `release NAME`), until it is told to end (`release`), or killed.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo, ProviderError } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', first = '', leaseMs = '', title = ''] = process.argv.slice(2);
if (title !== '') process.title = title;

const solo = createSolo({ provider: await openStore(store), leaseMs: leaseMs === 'null' ? null : Number(leaseMs) });
/** @type {Map<string, import('@solorun/core').Lease>} */
const leases = new Map();

/** @param {string} name */
async function acquire(name) {
  const lease = await patiently(() => solo.acquire(name, { waitMs: 60_000 }));
  leases.set(name, lease);
  lease.signal.addEventListener('abort', () => say({ lost: lease.signal.reason.reason, name }));
  say({ held: String(lease.fence), name });
}

/**
 * A first try that fails is told to the caller; here it is made again.
 *
 * @template T
 * @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
async function patiently(act) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      await sleep(50);
    }
  }
}

solo.on('busy', ({ name }) => say({ busy: name }));
void acquire(first);
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, name = first] = line.split(' ');
  if (verb === 'acquire') void acquire(name);
  if (verb !== 'release') continue;
  say({ released: await leases.get(name)?.release(), name });
  if (line === verb) break;
}
await solo.close();
process.stdin.destroy();
