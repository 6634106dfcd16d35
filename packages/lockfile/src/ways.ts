import type { Floor } from './floor.ts';
import type { Standing } from './key.ts';
import type { Top, Tops } from './top.ts';

/**
 * How the next generation comes about, and so which number it has. Processes that see the same go the same way to the same number, and
 * only one of them creates it.
 * - `next`: right above the top, which stands on its base.
 * - `second`: right above a top that is the first of its row, and so stands on the floor.
 * - `anew`: right above the floor. Nothing is known of the lock, or its row was broken: see step 2 of generations.ts.
 */
export type Way = { readonly kind: 'next' } | StartingWay;

interface StartingWay {
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

  /** Undefined: what stands has to be read once more, for the floor must be known before. */
  async of(key: string, { generations }: Standing, top: Top | undefined): Promise<Way | undefined> {
    const isClosed = top?.record?.closed === true;
    if (top !== undefined && !isClosed && generations.includes(top.base)) return { kind: 'next' };
    const before = this.#floor.seen;
    if (top === undefined || isClosed) {
      const least = top?.generation ?? 0n;
      if (before === undefined || before < least) return void (await this.#floor.atLeast(least));
      return { kind: 'anew', floor: before, seen: generations };
    }
    // A list that is not atomic may show the top of a while ago, without the one below it or the one above it.
    const floor = before !== undefined && before >= top.base ? before : await this.#floor.atLeast(top.base);
    const again = (await this.#tops.standing(key)).generations;
    if (again.length !== generations.length || again.some((each, n) => each !== generations[n])) return undefined;
    if (floor === top.base) return { kind: 'second', floor, seen: generations };
    if (floor >= top.generation) return { kind: 'anew', floor, seen: generations };
    // Between the base and the top, as after files were removed by hand.
    return void (await this.#floor.atLeast(top.generation));
  }
}

/** The number of the next generation. */
export function numberOf(way: Way, top: Top | undefined): bigint {
  return way.kind === 'anew' ? way.floor + 1n : top!.generation + 1n;
}
