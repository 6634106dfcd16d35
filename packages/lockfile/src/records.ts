import type { JobRecord, RunRecord } from '@solorun/core';
import { standingAmong, type Standing } from './key.ts';
import type { Pauses } from './pauses.ts';
import { runRecords } from './runs.ts';
import type { FileStore } from './store.ts';
import { carriedBy, recordOf, type Top, type Tops } from './top.ts';
import { unlessGivenUp, warnOfUnreadable } from './unreadable.ts';

/** Changes of hands in a row that a reader follows before it gives up. */
const ROUNDS = 8;

/** What stands of a lock by a list of all files, and the store's clock before that list: good enough to read each without a list of its own. */
interface Listed {
  readonly standing: Standing;
  readonly now: number;
}

interface Read {
  readonly top: Top | undefined;
  readonly listed: Listed;
}

/** The records of locks, for readers that acquire nothing. */
export class Records {
  readonly #store: FileStore;
  readonly #tops: Tops;
  readonly #pauses: Pauses;

  constructor(store: FileStore, tops: Tops, pauses: Pauses) {
    this.#store = store;
    this.#tops = tops;
    this.#pauses = pauses;
  }

  async inspect(key: string, signal: AbortSignal | undefined): Promise<JobRecord | undefined> {
    signal?.throwIfAborted();
    return unlessGivenUp(this.#record(key), signal);
  }

  async runs(key: string, limit: number, signal: AbortSignal | undefined): Promise<readonly RunRecord[]> {
    signal?.throwIfAborted();
    const { top } = await unlessGivenUp(this.#read(key), signal);
    const record = top === undefined || top.over ? carriedBy(top) : top.record;
    return runRecords(record?.runs ?? [], limit);
  }

  async *list(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<JobRecord, void> {
    signal?.throwIfAborted();
    const now = await unlessGivenUp(this.#store.now(), signal);
    for (const [key, standing] of standingAmong(await unlessGivenUp(this.#store.list(''), signal))) {
      if (standing.generations.length === 0) continue;
      const reading = this.#record(key, { standing, now }).catch((error: unknown) => warnOfUnreadable(key, error));
      const record = await unlessGivenUp(reading, signal);
      if (record?.name.startsWith(prefix) === true) yield record;
    }
  }

  async #record(key: string, known?: Listed): Promise<JobRecord | undefined> {
    const { top, listed } = await this.#read(key, known);
    return recordOf(top, await this.#pauses.inForce(key, listed.standing.pauses, listed.now));
  }

  async #read(key: string, known?: Listed): Promise<Read> {
    let listed = known;
    for (let round = 0; round < ROUNDS; round += 1) {
      const now = listed?.now ?? (await this.#store.now());
      listed ??= { standing: await this.#tops.standing(key), now };
      const top = await this.#tops.read(key, listed.standing.generations, now);
      if (top !== 'moved') return { top, listed };
      listed = undefined;
    }
    throw new Error('the lock changes hands too fast to be read');
  }
}
