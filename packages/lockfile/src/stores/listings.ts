import { readdirSync } from 'node:fs';

interface Listing {
  startingWith(prefix: string): string[];
}

export interface Listings {
  /** A listing of the directory that is newer than this question. Rejects as `readdir` does. */
  next(directory: string): Promise<Listing>;
}

/**
 * Listings of directories, each one for all callers that ask before it is made: it is newer than every one of their questions. A process
 * with thousands of leases lists once for all of them, and not for each of them all the files of the others.
 */
export function createListings(): Listings {
  const asked = new Map<string, Promise<Listing>>();

  return {
    next(directory) {
      let listing = asked.get(directory);
      if (listing === undefined) {
        listing = new Promise((resolve, reject) => {
          // After everything that is ready to run in this turn of the event loop.
          process.nextTick(() => {
            asked.delete(directory);
            try {
              resolve(list(directory));
            } catch (error) {
              reject(error);
            }
          });
        });
        asked.set(directory, listing);
      }
      return listing;
    },
  };
}

function list(directory: string): Listing {
  const names = readdirSync(directory);
  let questions = 0;
  return {
    startingWith(prefix) {
      questions += 1;
      if (questions === 1) return names.filter((name) => name.startsWith(prefix));
      // Sorting is worth it from the second question on.
      if (questions === 2) names.sort();
      const first = firstFrom(names, prefix);
      let end = first;
      while (names[end]?.startsWith(prefix) === true) end += 1;
      return names.slice(first, end);
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
