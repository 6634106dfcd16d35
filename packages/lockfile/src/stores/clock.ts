import { closeSync, fstatSync, unlinkSync } from 'node:fs';
import { touch } from './files.ts';
import { openTemporary, sweep } from './temporary.ts';

/** The clock of a file system: the modification time of a file that is written now. */
export class StoreClock {
  readonly #directory: string;
  /** Swept when the clock is asked first, for only then is it known how old they are. */
  #leftBehind: readonly string[];
  #fd: number | undefined;

  constructor(directory: string, leftBehind: readonly string[]) {
    this.#directory = directory;
    this.#leftBehind = leftBehind;
  }

  now(): number {
    this.#fd ??= this.#open();
    touch(this.#fd, '.');
    return fstatSync(this.#fd).mtimeMs;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    const { path, fd } = openTemporary(this.#directory, 0o600);
    this.#fd = fd;
    // Only its modification time is wanted, and an open file keeps that without a name.
    unlinkSync(path);
    touch(fd, '.');
    const leftBehind = this.#leftBehind;
    this.#leftBehind = [];
    sweep(this.#directory, leftBehind, fstatSync(fd).mtimeMs);
    return fd;
  }
}
