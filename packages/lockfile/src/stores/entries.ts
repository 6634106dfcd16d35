import type { Flusher } from './flusher.ts';

/** Puts the entries of directories on the disk, and with those of a new sub-directory its own entry. */
export class Entries {
  readonly #directory: string;
  readonly #flusher: Flusher;
  /** Directories whose own entry is on the disk. */
  readonly #flushed: Set<string>;

  constructor(directory: string, flusher: Flusher) {
    this.#directory = directory;
    this.#flusher = flusher;
    this.#flushed = new Set([directory]);
  }

  /** The folder has been made, perhaps again. */
  made(folder: string): void {
    this.#flushed.delete(folder);
  }

  async flush(folder: string): Promise<void> {
    if (this.#flushed.has(folder)) return this.#flusher.directory(folder);
    await Promise.all([this.#flusher.directory(folder), this.#flusher.directory(this.#directory)]);
    this.#flushed.add(folder);
  }
}
