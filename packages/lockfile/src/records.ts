import type { JobRecord } from '@solorun/core';
import { unlessAborted } from '@solorun/core/server';
import { locksAmong } from './key.ts';
import type { FileStore } from './store.ts';
import { recordOf, type Tops } from './top.ts';

/** Changes of hands in a row that a reader follows before it gives up. */
const ROUNDS = 8;

/** The generations of a lock in a list of all files, and the store's clock before that list: good enough to read each without a list of its own. */
interface Listed {
  readonly generations: readonly bigint[];
  readonly now: number;
}

/** The records of locks, for readers that acquire nothing. */
export class Records {
  readonly #store: FileStore;
  readonly #tops: Tops;

  constructor(store: FileStore, tops: Tops) {
    this.#store = store;
    this.#tops = tops;
  }

  async inspect(key: string, signal: AbortSignal | undefined): Promise<JobRecord | undefined> {
    signal?.throwIfAborted();
    return unlessGivenUp(this.#read(key), signal);
  }

  async *list(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<JobRecord, void> {
    signal?.throwIfAborted();
    const now = await unlessGivenUp(this.#store.now(), signal);
    for (const [key, generations] of locksAmong(await unlessGivenUp(this.#store.list(''), signal))) {
      const reading = this.#read(key, { generations, now }).catch((error: unknown) => {
        // One file that cannot be read must not hide the others.
        process.emitWarning(`The lock ${key} cannot be listed: ${String(error)}`, { code: 'SOLORUN_UNREADABLE' });
      });
      const record = await unlessGivenUp(reading, signal);
      if (record?.name.startsWith(prefix) === true) yield record;
    }
  }

  async #read(key: string, listed?: Listed): Promise<JobRecord | undefined> {
    let known = listed;
    for (let round = 0; round < ROUNDS; round += 1) {
      const now = known?.now ?? (await this.#store.now());
      const top = await this.#tops.read(key, known?.generations ?? (await this.#tops.generations(key)), now);
      if (top !== 'moved') return recordOf(top);
      known = undefined;
    }
    throw new Error('the lock changes hands too fast to be read');
  }
}

/** The answer, for as long as the caller waits for it. A slow store may give it later, and no step of reading changes anything. */
function unlessGivenUp<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? answer : unlessAborted(answer, signal);
}
