import { lstatSync } from 'node:fs';
import { goneError } from './directory.ts';
import type { Layout } from './layout.ts';
import { createListings, type Listings } from './listings.ts';

/** The keys of the files in a lock directory, by its layout. */
export class Keys {
  readonly #directory: string;
  readonly #layout: Layout;
  /** Makes room for the rest of the program, where it is time to. */
  readonly #breathe: () => Promise<void> | undefined;
  readonly #listings: Listings = createListings();

  constructor(directory: string, layout: Layout, breathe: () => Promise<void> | undefined) {
    this.#directory = directory;
    this.#layout = layout;
    this.#breathe = breathe;
  }

  startingWith(prefix: string): Promise<string[]> {
    return this.#in(this.#layout.folderOf(prefix), prefix);
  }

  async all(): Promise<string[]> {
    const found: string[][] = [];
    for (const folder of this.#layout.folders()) {
      await this.#breathe();
      found.push(await this.#in(folder, ''));
    }
    return found.flat();
  }

  async #in(folder: string, prefix: string): Promise<string[]> {
    try {
      return (await this.#listings.next(folder)).startingWith(prefix);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // A folder is made with its first lock.
      if (lstatSync(this.#directory, { throwIfNoEntry: false }) === undefined) throw goneError(this.#directory, error);
      return [];
    }
  }
}
