import type { Guarantees } from '@solorun/core';
import type { Link } from './link.ts';

/** @param link the newest connection, also when it has ended; undefined before the first one */
export function guaranteesOf(link: Link | undefined, listens: boolean, settleMs: number | undefined): Guarantees {
  const evicts = link?.server.evicts;
  return {
    clock: 'server',
    reach: 'fleet',
    expiry: true,
    unbounded: false,
    crash: 'by expiry',
    fence: evicts === undefined ? 'durable' : 'until server crash',
    occurrences: true,
    wakeUp: listens ? 'push' : 'poll',
    minLeaseMs: 100,
    caveats: [
      'Redis answers before its data are safe: a crash (with appendfsync everysec, of about the last second; without persistence, ' +
        'of everything) or a fail-over to a replica, which follows asynchronously, may forget the newest leases, occurrences, ' +
        'pauses and records. An occurrence that is forgotten may run again.',
      settlingWords(link, settleMs),
      "Fences are the server's time in µs, or one more than the last: they may only go back if data are lost and its clock is set back as " +
        'well, or if it is set back by more than the time after which a record was forgotten.',
      "Setting the server's clock forward by two thirds of a lease may end it early: two may hold it until the first one's next renewal, up " +
        'to a third of the lease. If the holder is paused or cut off, more than the margin is enough. Slewing does no harm.',
      ...(evicts === undefined ? [] : [`The server throws away keys when its memory is full (maxmemory-policy ${evicts}).`]),
    ],
  };
}

function settlingWords(link: Link | undefined, settleMs: number | undefined): string {
  if (link?.cluster === true) {
    return (
      'In a cluster, a node that has just taken over may grant a lease that its predecessor granted and it never heard of: two may ' +
      'hold it until the first one ends. Compare fences where that matters.'
    );
  }
  if (settleMs === 0)
    return 'A server that has just been started, or has just taken over, may grant a lease that it has forgotten (settleMs: 0).';
  if (link?.server.told === false) {
    return (
      'The server may not be asked for INFO, so nobody notices that it has just been started, or has just taken over: it may grant a lease ' +
      'that it has forgotten.'
    );
  }
  const howLong = settleMs === undefined ? 'the length of the lease that is asked for' : `${settleMs} ms`;
  return (
    `A server that has just been started, or has just taken over, grants nothing for ${howLong}: longer leases of the same name, which ` +
    'it may have forgotten, are not waited for.'
  );
}
