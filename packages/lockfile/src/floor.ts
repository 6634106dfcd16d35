import { floorKey, floorsOf } from './key.ts';
import type { FileStore } from './store.ts';

/** For people who open the file. */
const CONTENT =
  'Locks that start anew get greater fences than the number of this file. Do not delete it while programs use the locks.\n';

/** So many stand: a listing that is not atomic, and is overtaken by a new one, still shows the one before. */
const KEPT = 2;

/**
 * The floor of the fences: a lock of which nothing is known starts right above it. It is the highest number of the files
 * `<key>.<number>.floor`. It only rises; before the files of a lock are removed, it is raised to their highest number at least.
 *
 * The first floor of a store is the store's time in µs, so fences do not go back for a directory that was emptied, either.
 */
export class Floor {
  readonly #store: FileStore;
  readonly #key: string;
  readonly #isDurable: boolean;
  /** As this process saw it last: there may be a higher one by now. */
  #seen: bigint | undefined;
  #raising: Promise<void> | undefined;

  /** @param isDurable it survives a crash of the machine */
  constructor(store: FileStore, key: string, isDurable: boolean) {
    this.#store = store;
    this.#key = key;
    this.#isDurable = isDurable;
  }

  /** As this process saw it last. */
  get seen(): bigint | undefined {
    return this.#seen;
  }

  /** As it is now. Undefined: there is none yet. */
  async now(): Promise<bigint | undefined> {
    this.#seen = (await this.#list()).at(-1);
    return this.#seen;
  }

  /** Raises it, if it is lower. */
  async atLeast(least: bigint): Promise<bigint> {
    for (;;) {
      const floor = (await this.now()) ?? -1n;
      if (floor >= least && floor >= 0n) return floor;
      // One for all that ask: each new floor makes others try again that start by the old one.
      this.#raising ??= this.#raise(least).finally(() => (this.#raising = undefined));
      await this.#raising;
    }
  }

  async #raise(least: bigint): Promise<void> {
    const now = BigInt(Math.floor((await this.#store.now()) * 1_000));
    const key = floorKey(this.#key, now > least ? now : least);
    if (await this.#store.createExclusive(key, CONTENT, this.#isDurable)) await this.#store.letGo(key, CONTENT);
    for (const below of (await this.#list()).slice(0, -KEPT)) {
      // Another user's file in a sticky directory stays: only the highest counts.
      await this.#store.remove(floorKey(this.#key, below)).catch(() => {});
    }
  }

  async #list(): Promise<readonly bigint[]> {
    return floorsOf(this.#key, await this.#store.list(`${this.#key}.`));
  }
}
