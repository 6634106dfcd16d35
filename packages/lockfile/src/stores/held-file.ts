import { fstatSync } from 'node:fs';
import type { StoredFile } from '../store.ts';
import { holds, inodeIfSame, touch } from './files.ts';
import type { Flusher } from './flusher.ts';

/** A file that this process holds: open, and locked where the kernel can. */
export interface HeldFile {
  readonly fd: number;
  readonly body: string;
  readonly bytes: Buffer;
  /** It was opened under its temporary name, and a watch of the directory reports what is written to it by that name. */
  readonly quiet: boolean;
}

/**
 * One's own file needs no lock that shows whether its holder lives, and its content is known. Undefined: it is gone, or has another
 * content.
 */
export function readHeld({ fd, body, bytes }: HeldFile, hasLocks: boolean): StoredFile | undefined {
  const { mtimeMs, nlink, dev } = fstatSync(fd);
  if (nlink === 0 || !holds(fd, bytes)) return undefined;
  return { body, modifiedAt: mtimeMs, device: String(dev), unlocked: hasLocks ? false : undefined };
}

/**
 * Moves the modification time. In place, so that the file system's own clock moves it; utimes would bring ours. False: another file stands
 * under this name by now.
 */
export function writeAgain({ fd, body }: HeldFile, path: string): boolean {
  touch(fd, body);
  return inodeIfSame(fd, path) !== undefined;
}

/** By key: the files that this process holds. */
export class HeldFiles {
  readonly #flusher: Flusher;
  readonly #files = new Map<string, HeldFile>();

  constructor(flusher: Flusher) {
    this.#flusher = flusher;
  }

  get(key: string): HeldFile | undefined {
    return this.#files.get(key);
  }

  set(key: string, file: HeldFile): void {
    this.#files.set(key, file);
  }

  /** Closes the file, and so lets go of its lock. */
  forget(key: string): void {
    const file = this.#files.get(key);
    if (file === undefined) return;
    this.#files.delete(key);
    this.#flusher.close(file.fd);
  }

  forgetAll(): void {
    for (const key of this.#files.keys()) this.forget(key);
  }
}
