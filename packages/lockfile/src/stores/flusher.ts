import { closeSync, constants, fsync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers';
import { onceAborted } from '@solorun/core/server';

interface Flush {
  /** Opens what is to be flushed, unless it is open. */
  readonly open: () => number;
  readonly ended: (error: unknown) => void;
}

/** Node's thread pool is for the whole program, which needs a thread for its files and its DNS while the disk is slow. */
const AT_ONCE = Math.max(1, (Number(process.env['UV_THREADPOOL_SIZE']) || 4) - 1);

/** Flushes to the disk, in the thread pool: on a slow disk one takes 100 ms and more, and the event loop must not wait for it. */
export class Flusher {
  readonly #urgent: Flush[] = [];
  readonly #ordinary: Flush[] = [];
  /** By path: flushes of directories that have not begun. */
  readonly #directories = new Map<string, Promise<void>>();
  /** Files whose flush has not ended. */
  readonly #busy = new Set<number>();
  /** Busy files that are closed when their flush ends. */
  readonly #toClose = new Set<number>();
  #running = 0;

  /**
   * Resolves when what was written to this open file is on the disk. Flushes that are urgent come before the ordinary ones. Rejects when
   * the signal aborts before the flush has begun.
   */
  file(fd: number, isUrgent: boolean, signal?: AbortSignal): Promise<void> {
    const queue = isUrgent ? this.#urgent : this.#ordinary;
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    this.#busy.add(fd);
    return new Promise<void>((resolve, reject) => {
      const ended = (error: unknown): void => {
        stopListening();
        this.#free(fd);
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
      this.#next();
    });
  }

  /** Resolves when the entries of this directory are on the disk: one flush for all callers that ask before it begins. Urgent. */
  directory(path: string): Promise<void> {
    const waiting = this.#directories.get(path);
    if (waiting !== undefined) return waiting;
    const flushed = new Promise<void>((resolve, reject) => {
      let fd: number | undefined;
      const open = (): number => {
        // A caller that asks from now on may have made an entry that this flush does not see.
        this.#directories.delete(path);
        return (fd = openSync(path, constants.O_RDONLY));
      };
      const ended = (error: unknown): void => {
        if (fd !== undefined) closeSync(fd);
        if (error === null) resolve();
        else reject(error);
      };
      this.#urgent.push({ open, ended });
    });
    this.#directories.set(path, flushed);
    this.#next();
    return flushed;
  }

  /** Closes a file: now, or when its flush has ended, for by then its number may be another file's. */
  close(fd: number): void {
    if (this.#busy.has(fd)) this.#toClose.add(fd);
    else closeSync(fd);
  }

  /** Rejects the flushes that have not begun. */
  end(): void {
    for (const { ended } of [...this.#urgent.splice(0), ...this.#ordinary.splice(0)])
      ended(new Error('this lockfile provider is closed'));
  }

  #next(): void {
    while (this.#running < AT_ONCE) {
      const flush = this.#urgent.shift() ?? this.#ordinary.shift();
      if (flush === undefined) return;
      this.#begin(flush);
    }
  }

  #begin({ open, ended }: Flush): void {
    let fd: number;
    try {
      fd = open();
    } catch (error) {
      return ended(error);
    }
    this.#running += 1;
    fsync(fd, (error) => {
      this.#running -= 1;
      ended(error);
      // A file whose flush has ended may ask for its directory first: a claim that has begun is finished before the next one begins.
      setImmediate(() => this.#next());
    });
  }

  #free(fd: number): void {
    this.#busy.delete(fd);
    if (this.#toClose.delete(fd)) closeSync(fd);
  }
}
