import { readdirSync } from 'node:fs';

export interface Listing {
  startingWith(prefix: string): string[];
}

/**
 * Listings of a directory, one for all who ask before it is made: it is newer than every one of their questions. A process with
 * thousands of leases looks once for all of them, not for each at all the files of the others.
 */
export function createListings(directory: string): { next(): Promise<Listing> } {
  let asked: Promise<Listing> | undefined;

  function make(): Listing {
    const names = readdirSync(directory);
    let questions = 0;
    return {
      startingWith(prefix) {
        questions += 1;
        if (questions === 1) return names.filter((name) => name.startsWith(prefix));
        // Worth it from the second one on.
        if (questions === 2) names.sort();
        const first = firstFrom(names, prefix);
        let end = first;
        while (names[end]?.startsWith(prefix) === true) end += 1;
        return names.slice(first, end);
      },
    };
  }

  return {
    next() {
      asked ??= new Promise((resolve, reject) => {
        // After all that is ready to run in this turn of the event loop.
        process.nextTick(() => {
          asked = undefined;
          try {
            resolve(make());
          } catch (error) {
            reject(error);
          }
        });
      });
      return asked;
    },
  };
}

/** The index of the first name that does not sort below `prefix`. */
function firstFrom(names: readonly string[], prefix: string): number {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (names[middle]! < prefix) low = middle + 1;
    else high = middle;
  }
  return low;
}
