import { careFor, type Durable } from './care.ts';
import type { Floor } from './floor.ts';
import type { GenerationGrant } from './grant.ts';
import { generationKey, type Standing } from './key.ts';
import { readRecord, writeRecord, type LockRecord } from './record.ts';
import type { FileStore } from './store.ts';
import type { Top, Tops } from './top.ts';
import { lostRecord, releasedRecord } from './transitions.ts';
import type { StartingWay, Way } from './ways.ts';

/** A generation that is to take the place of what was seen in step 1. */
export interface Candidate {
  readonly key: string;
  readonly grant: GenerationGrant;
  readonly way: Way;
  /** What it carries on, unless it starts from nothing. */
  readonly top: Top | undefined;
  /** It must survive a crash of the machine. */
  readonly isDurable: boolean;
  /** The generation below the top, if that was released by this process and is the lowest of all: it may be used up. */
  readonly spare: bigint | undefined;
  /** The newest pause that does not count. `any`: no pause does. */
  readonly passes: bigint | 'any' | undefined;
}

/** Steps 2 to 4 of generations.ts: a new generation takes the place of the top, or is withdrawn. */
export class Succession {
  readonly #store: FileStore;
  readonly #tops: Tops;
  readonly #floor: Floor;
  readonly #durable: Durable;

  constructor(store: FileStore, tops: Tops, floor: Floor, durable: Durable) {
    this.#store = store;
    this.#tops = tops;
    this.#floor = floor;
    this.#durable = durable;
  }

  /**
   * Steps 2 and 3. Resolves with the generations below that are needed no more. Undefined: another process was faster, the holder of the top
   * is alive, or the lock was paused.
   */
  async take(candidate: Candidate, signal: AbortSignal): Promise<readonly bigint[] | undefined> {
    const { key, grant, isDurable, spare, top } = candidate;
    const own = generationKey(key, grant.fence);
    let created: boolean | 'from spare' = true;
    let after: Standing | undefined;
    let isTaken = false;
    try {
      const used = spare === undefined ? undefined : generationKey(key, spare);
      created = await this.#store.createExclusive(own, grant.body, isDurable, used, signal);
      if (created === false) return undefined;
      after = await this.#tops.standing(key);
      const mayStand = this.#mayStand(candidate, after, created === 'from spare');
      isTaken = (typeof mayStand === 'boolean' ? mayStand : await mayStand) && !signal.aborted;
    } finally {
      // Also when creating or listing failed: a generation that was not granted must not stand.
      if (created !== false && !isTaken) await this.#takeBack(candidate, after?.generations);
    }
    signal.throwIfAborted();
    if (!isTaken || after === undefined) return undefined;
    return after.generations.filter((generation) => generation !== grant.fence && generation !== top?.generation);
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

  /** Step 3: whether the new generation stands where it should, nothing has changed, and no pause is in the way. */
  #mayStand(candidate: Candidate, { generations, pauses }: Standing, isFromSpare: boolean): boolean | Promise<boolean> {
    const { key, way, top, passes } = candidate;
    if (passes !== 'any' && pauses.length > 0 && pauses.at(-1) !== passes) return false;
    if (way.kind !== 'next') return this.#mayStart(candidate, way, generations);
    if (!isNext(candidate, generations, isFromSpare)) return false;
    return top!.expiresAt === undefined || this.#tops.isUnchanged(key, top!);
  }

  async #mayStart(candidate: Candidate, way: StartingWay, generations: readonly bigint[]): Promise<boolean> {
    const { key, top } = candidate;
    if (!(await this.#isStart(candidate, way, generations))) return false;
    return top === undefined || this.#tops.isUnchanged(key, top);
  }

  /** Whether the new generation is the highest, beside nothing but what was seen, and the floor is as it was. */
  async #isStart({ grant, top }: Candidate, { floor, seen }: StartingWay, after: readonly bigint[]): Promise<boolean> {
    if (after.at(-1) !== grant.fence || (top !== undefined && !after.includes(top.generation))) return false;
    return after.every((each) => each === grant.fence || seen.includes(each)) && (await this.#floor.now()) === floor;
  }

  /** Where a generation cannot be withdrawn, it counts as that of a dead holder. */
  async #takeBack(candidate: Candidate, after: readonly bigint[] | undefined): Promise<void> {
    const { key, grant } = candidate;
    try {
      await this.#withdraw(candidate, after);
    } finally {
      await this.#store.letGo(generationKey(key, grant.fence), grant.body);
    }
  }

  /** Step 3 for a generation of ours that came too late. @param after what stands, if that is known */
  async #withdraw(candidate: Candidate, after: readonly bigint[] | undefined): Promise<void> {
    const { key, grant, way } = candidate;
    const own = generationKey(key, grant.fence);
    // Whether it was created is unknown, and if it was not, another process may have created one.
    if (after === undefined && (await this.#store.read(own))?.body !== grant.body) return;
    const standing = after ?? (await this.#tops.standing(key)).generations;
    if (standing.at(-1) !== grant.fence) return this.#store.remove(own);
    const mayStay = way.kind === 'next' ? standing.length > 1 : await this.#isStart(candidate, way, standing);
    if (mayStay) return this.#leaveReleased(candidate);
    // No row leads to its number, and with the floor above it no start does.
    await this.#floor.atLeast(grant.fence);
    await this.#store.remove(own);
  }

  /** With what the top says by now: its holder may have come back, and have recorded how its run ended. */
  async #leaveReleased({ key, grant, top }: Candidate): Promise<void> {
    const { fence, record } = grant;
    const file = top && (await this.#store.read(generationKey(key, top.generation)));
    const below = file && readRecord(file.body);
    const left: LockRecord =
      below === undefined
        ? releasedRecord(record, fence, { result: 'abandoned' }, 0)
        : { ...lostRecord(below, top!.generation, undefined), follows: record.follows, start: record.start };
    const occurrence = (record.occurrence ?? left.occurrence) !== undefined;
    // Without news, all that a crash of the machine can bring back is a claim whose run it has kept from starting.
    const news = file?.body !== top?.file.body;
    const care = news && this.#durable(occurrence) ? 'durable' : 'whole';
    await this.#store.write(generationKey(key, fence), writeRecord(left), care);
  }
}

/** Whether the new generation is the highest, right above the top, which stands on its base. */
function isNext({ grant, top, spare }: Candidate, after: readonly bigint[], isFromSpare: boolean): boolean {
  if (after.at(-1) !== grant.fence || after.at(-2) !== top!.generation) return false;
  // A spare that was used up stood when the new generation came about.
  return after.includes(top!.base) || (isFromSpare && spare === top!.base);
}

/** Whether a new generation is to be flushed, and whether it may be made of a file that is needed no more. */
export function careOf(durable: Durable, record: LockRecord): { readonly isDurable: boolean; readonly mayUseUp: boolean } {
  const care = careFor(durable, record);
  return { isDurable: care === 'durable', mayUseUp: care === 'loose' };
}
