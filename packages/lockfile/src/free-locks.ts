import type { LockRecord } from './record.ts';

/** The highest generation of a lock that was free. */
export interface Free {
  readonly generation: bigint;
  /** The one below, if that was the lowest of all. */
  readonly below?: bigint | undefined;
  /** Its content as this process wrote it. It stands there unless another process has used the lock since. */
  readonly body?: string | undefined;
  readonly record?: LockRecord | undefined;
}

/** A program may use any number of locks, and only so many are remembered. */
const MOST_REMEMBERED = 1_000;

/** By key: what stood highest, and was free, when this process last used the lock. */
export class FreeLocks {
  readonly #last = new Map<string, Free>();

  remember(key: string, free: Free): void {
    if (this.#last.size >= MOST_REMEMBERED) this.#last.clear();
    this.#last.set(key, free);
  }

  /** Good for one try: then something else stands highest, or the memory was wrong. */
  take(key: string): Free | undefined {
    const free = this.#last.get(key);
    this.#last.delete(key);
    return free;
  }
}
