import { createOutlasted, type Outlasted } from '@solorun/core/server';
import type { LockRecord } from './record.ts';
import type { FileStore, StoredFile } from './store.ts';

/** When the leases in one store end: by the store's clock, or where that was set back, by a clock of this process. */
export class Deadlines {
  readonly #store: FileStore;
  /** By key: files from the future. */
  readonly #outlasted: Outlasted = createOutlasted();

  constructor(store: FileStore) {
    this.#store = store;
  }

  /** The end of a lease by the store's clock. The allowance is for stores that round modification times down. */
  endOf({ modifiedAt }: StoredFile, leaseMs: number | null): number {
    return leaseMs === null ? Number.POSITIVE_INFINITY : modifiedAt + leaseMs + this.#store.granularityMs;
  }

  /**
   * A modification time in the future: the store's clock was set back, and says nothing about this lease. A process that has seen the file
   * unchanged for a whole lease, by a clock of its own, knows that the lease was not renewed.
   */
  isOutlasted(key: string, generation: bigint, file: StoredFile, leaseMs: number | null, now: number): boolean {
    if (leaseMs !== null && this.#isFromTheFuture(file, now)) {
      return this.#outlasted.isOver(key, `${generation} ${file.modifiedAt}`, leaseMs + this.#store.granularityMs);
    }
    this.#outlasted.forget(key);
    return false;
  }

  /**
   * Whether the time of a lease of this process is over: by the store's clock, exactly as other processes judge it in step 1. Where that
   * clock was set back it says nothing, and the holder's own clock decides: others may have seen the file unchanged for a whole lease.
   */
  isSpent(file: StoredFile, { leaseMs }: LockRecord, writtenAt: number, now: number): boolean {
    if (leaseMs === null) return false;
    if (this.#isFromTheFuture(file, now)) return performance.now() >= writtenAt + leaseMs + this.#store.granularityMs;
    return now >= this.endOf(file, leaseMs);
  }

  /** Whether other processes may have found the lease over since its file was read. */
  mayBeOver(file: StoredFile, { leaseMs }: LockRecord, now: number): boolean {
    return leaseMs !== null && (now >= this.endOf(file, leaseMs) || this.#isFromTheFuture(file, now));
  }

  #isFromTheFuture({ modifiedAt }: StoredFile, now: number): boolean {
    return modifiedAt > now + this.#store.granularityMs;
  }
}
