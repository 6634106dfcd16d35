import { watch, type FSWatcher } from 'node:fs';

export interface Watchers {
  next(prefix: string, signal: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * One watch on the directory for all who wait in this process. A release is written in place, and so is a renewal: whoever waits is
 * woken by both, and looks.
 */
export function createWatchers(directory: string): Watchers {
  const waiting = new Map<() => void, string>();
  let watcher: FSWatcher | undefined;

  function open(): void {
    watcher = watch(directory, { persistent: false }, (_, file) => {
      for (const [wake, prefix] of waiting) if (file === null || file.startsWith(prefix)) wake();
    });
    // The directory went away or the watch broke: whoever waits looks for itself.
    watcher.on('error', () => {
      close();
      for (const wake of waiting.keys()) wake();
    });
  }

  function close(): void {
    watcher?.close();
    watcher = undefined;
  }

  return {
    next(prefix, signal) {
      return new Promise((resolveNext, reject) => {
        if (signal.aborted) return resolveNext();
        const wake = (): void => {
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          if (waiting.size === 0) close();
          resolveNext();
        };
        try {
          if (watcher === undefined) open();
        } catch (error) {
          // No watches left (ENOSPC, EMFILE): the caller looks by the clock.
          return reject(error);
        }
        waiting.set(wake, prefix);
        signal.addEventListener('abort', wake, { once: true });
      });
    },
    close,
  };
}
