import type { Guarantees } from '@solorun/core';

export function guaranteesOf(listens: boolean): Guarantees {
  return {
    clock: 'server',
    reach: 'fleet',
    expiry: true,
    unbounded: false,
    crash: 'by expiry',
    fence: 'durable',
    occurrences: true,
    wakeUp: listens ? 'push' : 'poll',
    minLeaseMs: 100,
    caveats: [
      "Setting the server's clock forward by two thirds of a lease may end it early: two may hold it until the first one's next renewal, up " +
        'to a third of the lease. If the holder is paused or cut off, more than the margin is enough. Slewing does no harm.',
      'A fail-over to an asynchronous replica may forget the newest leases, fences and occurrences.',
    ],
  };
}
