import type { Guarantees } from '@solorun/core';
import { LAG_MS } from './ledger.ts';

/** The facts about the server that are known by now. */
interface Known {
  /** The table or the right that it lacks to keep records. */
  readonly missing: string | undefined;
  /** It does not end the sessions of silent holders. */
  readonly isOld: boolean;
  /** Waiters may stand in the server's own queue. */
  readonly hasQueue: boolean;
  /** Caveats of a server that has come back. */
  readonly settling: readonly string[];
}

export function guaranteesOf({ missing, isOld, hasQueue, settling }: Known): Guarantees {
  const caveats = [
    'The session needs the server itself, or a pooler in session mode; a pooler that shares connections is refused.',
    'An event loop that stands still for longer than the lease loses every lock of the process.',
    ...settling,
  ];
  if (missing !== undefined) caveats.push(`No records, no occurrences, and fences that may go back: ${missing}.`);
  if (isOld) caveats.push('The server is older than 14: it does not end the session of a paused holder.');
  return {
    clock: 'server',
    reach: 'fleet',
    expiry: isOld ? 'while running' : true,
    unbounded: true,
    crash: 'at once',
    fence: missing === undefined ? 'durable' : 'until server crash',
    occurrences: missing === undefined,
    wakeUp: hasQueue ? 'queue' : 'push',
    recordLagMs: LAG_MS * 5,
    minLeaseMs: 100,
    caveats,
  };
}
