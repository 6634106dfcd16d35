import { closeSync, fstatSync, openSync } from 'node:fs';
import { overwrite, WRITE } from './files.ts';
import type { KernelLocks } from './kernel-locks.ts';
import type { Temporary } from './temporary.ts';

/** Released files that may be used up for the next generation. */
const MOST_RELEASED = 1_000;

/** Files that this process made and released: no process writes there any more. Such a file can become the next generation. */
export class Spares {
  readonly #locks: KernelLocks | undefined;
  /** By key, the inode: other processes may remove the file, and make another one by that name. */
  readonly #inodes = new Map<string, bigint>();

  constructor(locks: KernelLocks | undefined) {
    this.#locks = locks;
  }

  add(key: string, inode: bigint): void {
    // Files that other processes have removed stay in here.
    if (this.#inodes.size >= MOST_RELEASED) this.#inodes.clear();
    this.#inodes.set(key, inode);
  }

  forget(key: string): void {
    this.#inodes.delete(key);
  }

  /** The file with new content. Undefined: it is not the one that was released, or another process has it open. */
  useUp(key: string, path: string, bytes: Buffer): Temporary | undefined {
    const inode = this.#inodes.get(key);
    if (inode === undefined || this.#locks === undefined) return undefined;
    this.#inodes.delete(key);
    let fd: number;
    try {
      fd = openSync(path, WRITE);
    } catch {
      // Gone (ENOENT), or a link or something else by now (ELOOP, EACCES, …), and then not to be used up. A new file is made instead, and
      // if this process lacks something (EMFILE), making that one fails with it.
      return undefined;
    }
    try {
      const { ino, nlink, size } = fstatSync(fd, { bigint: true });
      if (ino === inode && nlink === 1n && this.#locks.tryLock(fd)) {
        overwrite(fd, bytes, Number(size));
        return { fd, path };
      }
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
    return undefined;
  }
}
