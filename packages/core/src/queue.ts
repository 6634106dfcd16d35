import type { LockProvider } from './provider.ts';

/**
 * Waiters for one name in one process stand in a local line, and only the head of it stands at the provider: 200 waiters cost a
 * server no more than one.
 */
export interface Queue {
  /** Takes a place at the end of the line for a name. */
  enter(name: string): Place;
  /** The name came free in this process: whoever heads its line need not wait for the provider to say so. */
  freed(name: string): void;
}

export interface Place {
  isHead(): boolean;
  /** Resolves at the head of the line, or when `signal` aborts. */
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

/** The one queue of a provider in this process, whichever solos wait on it. */
export function queueOf(provider: LockProvider): Queue {
  const queue = queues.get(provider) ?? createQueue();
  queues.set(provider, queue);
  return queue;
}

function createQueue(): Queue {
  const lines = new Map<string, Waiter[]>();

  return {
    enter(name) {
      const line = lines.get(name) ?? [];
      lines.set(name, line);
      const waiter: Waiter = { advance: () => {}, wake: () => {} };
      line.push(waiter);
      return {
        isHead: () => line[0] === waiter,
        head: (signal) =>
          new Promise((resolve) => {
            if (line[0] === waiter || signal.aborted) return resolve();
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
          const index = line.indexOf(waiter);
          if (index === -1) return;
          line.splice(index, 1);
          if (line.length === 0) lines.delete(name);
          else if (index === 0) line[0]?.advance();
        },
      };
    },
    freed: (name) => lines.get(name)?.[0]?.wake(),
  };
}
