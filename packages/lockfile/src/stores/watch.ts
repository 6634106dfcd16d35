import { watch, type FSWatcher } from 'node:fs';
import { basename } from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';

/** A watch without waiters stays open for so long, in ms. */
const KEEP_OPEN_MS = 1_000;

export interface Watchers {
  /** Resolves when a file of this directory whose name starts with `prefix` may have changed. */
  next(directory: string, prefix: string, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** One watch per directory for all waiters of this process. */
export function createWatchers(): Watchers {
  const open = new Map<string, Watch>();

  return {
    next(directory, prefix, signal) {
      const there =
        open.get(directory) ?? new Watch(directory, (closed) => void (open.get(directory) === closed && open.delete(directory)));
      open.set(directory, there);
      return there.next(prefix, signal);
    },
    close() {
      for (const there of open.values()) there.close();
    },
  };
}

/** Most releases are written in place, and so are renewals: either wakes a waiter, which then polls. */
class Watch {
  readonly #directory: string;
  readonly #onClosed: (closed: Watch) => void;
  readonly #waiting = new Map<() => void, string>();
  #watcher: FSWatcher | undefined;
  #unneeded: NodeJS.Timeout | undefined;

  constructor(directory: string, onClosed: (closed: Watch) => void) {
    this.#directory = directory;
    this.#onClosed = onClosed;
  }

  next(prefix: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return resolve();
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        if (this.#waiting.size === 0) this.#closeSoon();
        resolve();
      };
      try {
        this.#watcher ??= this.#open();
      } catch (error) {
        this.close();
        // The directory is not made yet, or was removed: the caller finds the lock free.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return resolve();
        // No watches left (ENOSPC, EMFILE): the caller polls by the clock.
        return reject(error);
      }
      this.#waiting.set(wake, prefix);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  close(): void {
    clearTimeout(this.#unneeded);
    this.#unneeded = undefined;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#onClosed(this);
  }

  #open(): FSWatcher {
    const removed = basename(this.#directory);
    const watcher = watch(this.#directory, { persistent: false }, (_, file) => {
      // The removal of the directory itself is reported under its own name, and nothing is reported after that.
      if (file === removed) return this.#broken();
      for (const [wake, prefix] of this.#waiting) if (file === null || file.startsWith(prefix)) wake();
    });
    watcher.on('error', () => this.#broken());
    return watcher;
  }

  /** The directory went away or the watch broke: its waiters poll. */
  #broken(): void {
    this.close();
    for (const wake of this.#waiting.keys()) wake();
  }

  /** Not at once: a waiter that was woken for nothing waits again, and to open a watch takes longer than a poll. */
  #closeSoon(): void {
    this.#unneeded ??= setTimeout(() => {
      this.#unneeded = undefined;
      if (this.#waiting.size === 0) this.close();
    }, KEEP_OPEN_MS).unref();
  }
}
