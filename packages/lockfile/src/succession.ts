import { careFor, type Durable } from './care.ts';
import type { GenerationGrant } from './grant.ts';
import { generationKey } from './key.ts';
import { readRecord, writeRecord, type LockRecord } from './record.ts';
import type { FileStore } from './store.ts';
import type { Top, Tops } from './top.ts';
import { releasedRecord } from './transitions.ts';

/** Steps 2 to 4 of generations.ts: a new generation takes the place of the top, or is withdrawn. */
export class Succession {
  readonly #store: FileStore;
  readonly #tops: Tops;
  readonly #durable: Durable;

  constructor(store: FileStore, tops: Tops, durable: Durable) {
    this.#store = store;
    this.#tops = tops;
    this.#durable = durable;
  }

  /**
   * Steps 2 and 3. Resolves with what stands then: the new generation is the last, and the one that it follows the last but one.
   * Undefined: another process was faster, or the holder of the top is alive.
   *
   * @param below the generation below the top, if that was released by this process and is the lowest of all
   */
  async take(
    key: string,
    grant: GenerationGrant,
    top: Top | undefined,
    below: bigint | undefined,
    signal: AbortSignal,
  ): Promise<bigint[] | undefined> {
    const own = generationKey(key, grant.fence);
    const care = careFor(this.#durable, grant.record);
    const spare = below !== undefined && care === 'loose' ? generationKey(key, below) : undefined;
    let created = true;
    let after: bigint[] | undefined;
    let standing: bigint[] | undefined;
    try {
      created = await this.#store.createExclusive(own, grant.body, care === 'durable', spare, signal);
      if (!created) return undefined;
      after = await this.#tops.generations(key);
      if ((await this.#isNext(key, after, grant.fence, top)) && !signal.aborted) standing = after;
    } finally {
      // Also when creating or listing failed: a generation that was not granted must not stand.
      if (created && standing === undefined) await this.#withdraw(key, grant, top, after);
    }
    signal.throwIfAborted();
    return standing;
  }

  /**
   * Step 4, lowest first. The lock is acquired by now, so nothing here may fail. False: a file could not be removed, and the next holder
   * removes it.
   */
  async cleanUp(key: string, below: readonly bigint[]): Promise<boolean> {
    for (const generation of below) {
      try {
        await this.#store.remove(generationKey(key, generation));
      } catch {
        // Another user's file in a sticky directory, an I/O error. To go on would break the order.
        return false;
      }
    }
    return true;
  }

  /** Step 3 for a generation of ours that came too late. @param after what stands, if that is known */
  async #withdraw(key: string, grant: GenerationGrant, top: Top | undefined, after?: readonly bigint[]): Promise<void> {
    const { fence, body, record } = grant;
    const own = generationKey(key, fence);
    if (after !== undefined && after.at(-1) !== fence) return this.#store.remove(own);
    // Whether it was created is unknown, and if it was not, another process may have created one.
    if (after === undefined && (await this.#store.read(own))?.body !== body) return;
    // As it is now: its holder may have come back, and have recorded how its run ended.
    const file = await this.#store.read(generationKey(key, fence - 1n));
    const below = file && readRecord(file.body);
    const left: LockRecord =
      below === undefined ? releasedRecord(record, { result: 'abandoned' }, 0) : { ...below, state: 'released' };
    const occurrence = (record.occurrence ?? left.occurrence) !== undefined;
    // Without news, all that a crash of the machine can bring back is a claim whose run it has kept from starting.
    const news = file?.body !== top?.file.body;
    await this.#store.write(own, writeRecord(left), news && this.#durable(occurrence) ? 'durable' : 'whole');
  }

  /** Whether the new generation is the highest, right above the top, and an expired top has not changed. */
  async #isNext(key: string, after: readonly bigint[], generation: bigint, top: Top | undefined): Promise<boolean> {
    if (after.at(-1) !== generation) return false;
    if (top === undefined) return true;
    if (after.at(-2) !== top.generation) return false;
    if (top.expiresAt === undefined) return true;
    const again = await this.#store.read(generationKey(key, top.generation));
    return again?.body === top.file.body && again.modifiedAt === top.file.modifiedAt;
  }
}
