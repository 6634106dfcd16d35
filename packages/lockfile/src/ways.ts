import type { Floor } from './floor.ts';
import type { Standing } from './key.ts';
import type { Top, Tops } from './top.ts';

/**
 * How the next generation comes about, and so which number it has. Processes that see the same go the same way to the same number, and
 * only one of them creates it.
 * - `next`: right above the top, which stands on its base.
 * - `second`: right above a top of which nobody has proven yet that it is in order, but the floor by which its row was started is still the
 *   floor.
 * - `anew`: right above the floor. Nothing is known of the lock, or its row was broken: see step 2 of generations.ts.
 */
export type Way = { readonly kind: 'next' } | StartingWay;

/** By the floor. */
export interface StartingWay {
  readonly kind: 'second' | 'anew';
  readonly floor: bigint;
  /** What stood: all of it is over, or was never granted. */
  readonly seen: readonly bigint[];
}

export class Ways {
  readonly #tops: Tops;
  readonly #floor: Floor;

  constructor(tops: Tops, floor: Floor) {
    this.#tops = tops;
    this.#floor = floor;
  }

  /** Undefined: something else stands by now. */
  async of(key: string, { generations }: Standing, top: Top | undefined): Promise<Way | undefined> {
    const isNew = top === undefined || top.record?.closed === true;
    const start = isNew ? undefined : top.record?.start;
    if (!isNew && start === undefined && generations.includes(top.base)) return { kind: 'next' };
    const known = this.#floor.seen;
    const least = isNew ? (top?.generation ?? 0n) : (start ?? top.base);
    const floor = known !== undefined && known >= least ? known : await this.#floor.atLeast(least);
    // The list must be younger than the floor, see step 2. And one that is not atomic may show the top of a while ago, without the one
    // below it and the one above it.
    if ((floor !== known || !isNew) && !(await this.#stillStand(key, generations))) return undefined;
    if (isNew || floor >= top.generation) return { kind: 'anew', floor, seen: generations };
    if (floor === start) return { kind: 'second', floor, seen: generations };
    // Below the top, which may have been given before.
    return void (await this.#floor.atLeast(top.generation));
  }

  async #stillStand(key: string, before: readonly bigint[]): Promise<boolean> {
    const { generations } = await this.#tops.standing(key);
    return generations.length === before.length && generations.every((each, n) => each === before[n]);
  }
}

/** The floor that the next generation stands on, as long as no holder has proven its row. */
export function startOf(way: Way): bigint | undefined {
  return way.kind === 'next' ? undefined : way.floor;
}

/** The number of the next generation. */
export function numberOf(way: Way, top: Top | undefined): bigint {
  return way.kind === 'anew' ? way.floor + 1n : top!.generation + 1n;
}
