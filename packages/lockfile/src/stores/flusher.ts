import { closeSync, constants, fsync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers';
import { onceAborted } from '@solorun/core/server';

/** Flushes to the disk, in the thread pool: on a slow disk one takes 100 ms and more, and the event loop must not wait for it. */
export interface Flusher {
  /**
   * Resolves when what was written to this open file is on the disk. Flushes that are urgent come before those that are not. Rejects
   * when the signal aborts before the flush has begun.
   */
  file(fd: number, urgent: boolean, signal?: AbortSignal): Promise<void>;
  /** Resolves when the entries of this directory are on the disk: one flush for all that ask before it begins. Urgent. */
  directory(path: string): Promise<void>;
  /** Closes a file: now, or when its flush has ended, for by then its number may be another file's. */
  close(fd: number): void;
  /** Rejects what has not begun. */
  end(): void;
}

interface Flush {
  /** Opens what is to be flushed, unless it is open. */
  readonly open: () => number;
  readonly ended: (error: unknown) => void;
}

/** Node's thread pool is for the whole program, which needs a thread for its files and its DNS while the disk is slow. */
const AT_ONCE = Math.max(1, (Number(process.env['UV_THREADPOOL_SIZE']) || 4) - 1);

export function createFlusher(): Flusher {
  const urgent: Flush[] = [];
  const ordinary: Flush[] = [];
  /** Those that have not begun. */
  const directories = new Map<string, Promise<void>>();
  /** Files whose flush has not ended, and of those the ones to close then. */
  const busy = new Set<number>();
  const toClose = new Set<number>();
  let running = 0;

  function next(): void {
    while (running < AT_ONCE) {
      const flush = urgent.shift() ?? ordinary.shift();
      if (flush === undefined) return;
      begin(flush);
    }
  }

  function begin({ open, ended }: Flush): void {
    let fd: number;
    try {
      fd = open();
    } catch (error) {
      return ended(error);
    }
    running += 1;
    fsync(fd, (error) => {
      running -= 1;
      ended(error);
      // The one that has ended may ask for its directory first: what has begun is finished before more is begun.
      setImmediate(next);
    });
  }

  function free(fd: number): void {
    busy.delete(fd);
    if (toClose.delete(fd)) closeSync(fd);
  }

  return {
    file(fd, isUrgent, signal) {
      const queue = isUrgent ? urgent : ordinary;
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
      busy.add(fd);
      return new Promise<void>((resolve, reject) => {
        const ended = (error: unknown): void => {
          stopListening();
          free(fd);
          if (error === null) resolve();
          else reject(error);
        };
        const flush: Flush = { open: () => fd, ended };
        const stopListening = onceAborted(signal, () => {
          const place = queue.indexOf(flush);
          if (place < 0) return;
          queue.splice(place, 1);
          ended(signal?.reason);
        });
        queue.push(flush);
        next();
      });
    },

    directory(path) {
      const waiting = directories.get(path);
      if (waiting !== undefined) return waiting;
      const flushed = new Promise<void>((resolve, reject) => {
        let fd: number | undefined;
        const open = (): number => {
          // A caller that asks from now on may have made an entry that this flush does not see.
          directories.delete(path);
          return (fd = openSync(path, constants.O_RDONLY));
        };
        const ended = (error: unknown): void => {
          if (fd !== undefined) closeSync(fd);
          if (error === null) resolve();
          else reject(error);
        };
        urgent.push({ open, ended });
      });
      directories.set(path, flushed);
      next();
      return flushed;
    },

    close(fd) {
      if (busy.has(fd)) toClose.add(fd);
      else closeSync(fd);
    },

    end() {
      for (const { ended } of [...urgent.splice(0), ...ordinary.splice(0)]) ended(new Error('this lockfile provider is closed'));
    },
  };
}
