import type { LockProvider } from './provider.ts';

/**
 * Waiters for one name in one process stand in a local queue, and only the first of them waits at the provider: 200 waiters cost a
 * server no more than one.
 */
export interface Queue {
  /** Takes a place at the end of the queue for a name. */
  enter(name: string): Place;
  /** The name came free in this process: the first waiter need not wait for the provider's hint. */
  freed(name: string): void;
}

export interface Place {
  isHead(): boolean;
  /** Resolves when the place is the first, or `signal` aborts. */
  head(signal: AbortSignal): Promise<void>;
  /** Calls `wake` (only the latest one given) each time the name comes free in this process. */
  onFreed(wake: () => void): void;
  leave(): void;
}

interface Waiter {
  advance: () => void;
  wake: () => void;
}

const queues = new WeakMap<LockProvider, Queue>();

/** The one queue of a provider in this process, for all solos that wait on it. */
export function queueOf(provider: LockProvider): Queue {
  const queue = queues.get(provider) ?? createQueue();
  queues.set(provider, queue);
  return queue;
}

function createQueue(): Queue {
  const waitersOf = new Map<string, Waiter[]>();

  return {
    enter(name) {
      const waiters = waitersOf.get(name) ?? [];
      waitersOf.set(name, waiters);
      const waiter: Waiter = { advance: () => {}, wake: () => {} };
      waiters.push(waiter);
      return {
        isHead: () => waiters[0] === waiter,
        head: (signal) =>
          new Promise((resolve) => {
            if (waiters[0] === waiter || signal.aborted) return resolve();
            const end = (): void => {
              signal.removeEventListener('abort', end);
              resolve();
            };
            waiter.advance = end;
            signal.addEventListener('abort', end, { once: true });
          }),
        onFreed(wake) {
          waiter.wake = wake;
        },
        leave() {
          const index = waiters.indexOf(waiter);
          if (index === -1) return;
          waiters.splice(index, 1);
          if (waiters.length === 0) waitersOf.delete(name);
          else if (index === 0) waiters[0]?.advance();
        },
      };
    },
    freed: (name) => waitersOf.get(name)?.[0]?.wake(),
  };
}
