/**
 * Waiting for many names at the price of one: notifications where they come, and one statement now and then for all the names, since
 * nobody notifies for a holder that died.
 */
export interface Watch {
  /** Resolves when the name is worth a try, or `signal` aborts. Rejects if the server could not be asked. */
  until(name: string, key: string, signal: AbortSignal): Promise<void>;
  /** A notification came. */
  notified(payload: string): void;
  /** Notifications may have been missed. */
  wakeAll(): void;
}

interface Waiter {
  readonly key: string;
  readonly wake: (error?: unknown) => void;
}

export interface WatchTerms {
  /** Which of these are worth a try now. */
  readonly look: (names: readonly { readonly name: string; readonly key: string }[]) => Promise<readonly string[]>;
  /** How often to look, in ms: half as much again at most, and half at least, so that replicas do not look in step. */
  readonly everyMs: () => number;
}

export function createWatch({ look, everyMs }: WatchTerms): Watch {
  const waiters = new Map<string, Set<Waiter>>();
  let timer: NodeJS.Timeout | undefined;
  let soon = false;

  function arm(): void {
    clearTimeout(timer);
    timer = waiters.size === 0 ? undefined : setTimeout(() => void round(), everyMs() * (0.5 + Math.random()));
  }

  async function round(): Promise<void> {
    soon = false;
    const names = [...waiters].map(([name, set]) => ({ name, key: [...set][0]!.key }));
    if (names.length === 0) return;
    try {
      for (const name of await look(names)) wakeName(name);
    } catch (error) {
      for (const { name } of names) wakeName(name, error);
    }
    arm();
  }

  function wakeName(name: string, error?: unknown): void {
    for (const waiter of waiters.get(name) ?? []) waiter.wake(error);
  }

  return {
    until(name, key, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return resolve();
        const set = waiters.get(name) ?? new Set();
        waiters.set(name, set);
        const wake = (error?: unknown): void => {
          set.delete(waiter);
          if (set.size === 0 && waiters.get(name) === set) waiters.delete(name);
          if (waiters.size === 0) clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
          if (error === undefined) resolve();
          else reject(error);
        };
        const onAbort = (): void => wake();
        const waiter: Waiter = { key, wake };
        set.add(waiter);
        signal.addEventListener('abort', onAbort, { once: true });
        // The first look leaves word at the server that there is a waiter, and finds names that came free since the try.
        if (!soon) setImmediate(() => void round());
        soon = true;
      });
    },
    notified(payload) {
      for (const set of [...waiters.values()]) for (const waiter of [...set]) if (waiter.key === payload) waiter.wake();
    },
    wakeAll() {
      for (const name of [...waiters.keys()]) wakeName(name);
    },
  };
}
