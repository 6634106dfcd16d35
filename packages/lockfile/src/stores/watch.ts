import { watch, type FSWatcher } from 'node:fs';
import { clearTimeout, setTimeout } from 'node:timers';

/** A watch that nobody needs stays open for so long, in ms. */
const KEEP_OPEN_MS = 1_000;

export interface Watchers {
  next(prefix: string, signal: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * One watch on the directory for all who wait in this process. Most releases are written in place, and so are renewals: whoever waits
 * is woken by either, and looks.
 */
export function createWatchers(directory: string): Watchers {
  const waiting = new Map<() => void, string>();
  let watcher: FSWatcher | undefined;
  let unneeded: NodeJS.Timeout | undefined;

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
    clearTimeout(unneeded);
    unneeded = undefined;
    watcher?.close();
    watcher = undefined;
  }

  /** Not at once: who was woken for nothing waits again, and to open a watch takes longer than a look. */
  function closeSoon(): void {
    unneeded ??= setTimeout(() => {
      unneeded = undefined;
      if (waiting.size === 0) close();
    }, KEEP_OPEN_MS).unref();
  }

  return {
    next(prefix, signal) {
      return new Promise((resolveNext, reject) => {
        if (signal.aborted) return resolveNext();
        const wake = (): void => {
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          if (waiting.size === 0) closeSoon();
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
