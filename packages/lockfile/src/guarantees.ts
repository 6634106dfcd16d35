import type { Guarantees } from '@solorun/core';
import type { FileStore } from './store.ts';

/** Which writes are flushed to the disk. */
export type Flush = 'occurrences' | 'always' | 'never';

export const FLUSHES: readonly Flush[] = ['occurrences', 'always', 'never'];

export function guaranteesOf(store: FileStore, flush: Flush, reach: Guarantees['reach']): Guarantees {
  const seesDeaths = store.proof.bootId !== undefined;
  const caveats = [
    'Setting the clock of the machine that keeps the files forward by two thirds of a lease may end it early: two may hold it until the ' +
      "first one's next renewal, up to a third of the lease. If the holder is paused, more than the margin is enough. Slewing does no harm.",
    'Machines exclude each other only if they share the directory itself: a local disk serves one machine and its containers.',
  ];
  if (!seesDeaths)
    caveats.push('Deaths cannot be seen here, so the lock of a killed process comes free only when its lease expires.');
  if (flush === 'never') caveats.push('Nothing is flushed: a power cut may bring back an occurrence that has run.');
  return Object.freeze({
    clock: 'store',
    reach,
    expiry: true,
    unbounded: true,
    crash: seesDeaths ? 'same host at once' : 'by expiry',
    fence: flush === 'always' ? 'durable' : 'until server crash',
    occurrences: true,
    wakeUp: 'push',
    minLeaseMs: Math.max(100, store.granularityMs * 4),
    caveats: Object.freeze(caveats),
  });
}
