import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  lutimesSync,
  openSync,
  readSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { StoredFile } from '../store.ts';
import { isUnlocked, type KernelLocks } from './kernel-locks.ts';

/*
 * One file of a directory. Files are opened with O_NOFOLLOW (a symlink planted under a lock's name is refused) and O_NONBLOCK (so is a
 * named pipe).
 */

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
export const WRITE: number = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
export const CREATE: number = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
/** Reads in a row of a file that is replaced each time. */
const MOST_READS = 10;
/** Larger than any record can be. */
const MAX_FILE_BYTES = 64 * 1024;
const SPACE = 0x20;
/** Every read here ends before the next one begins. */
const scratch = Buffer.allocUnsafe(MAX_FILE_BYTES + 1);

/** A disk that fills up takes a part, and reports that it is full only at the next write. */
export function writeWhole(fd: number, bytes: Buffer): void {
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`a record of ${bytes.length} bytes is too large for a lock file`);
  for (let written = 0; written < bytes.length;) {
    written += writeSync(fd, bytes, written, bytes.length - written, written);
  }
}

/** Pads to the old length with spaces, so that a crash in the middle of the write cannot leave the end of the old record behind. */
export function overwrite(fd: number, bytes: Buffer, oldLength: number): void {
  writeWhole(fd, bytes.length < oldLength ? Buffer.concat([bytes, Buffer.alloc(oldLength - bytes.length, ' ')]) : bytes);
}

/** Writes the first byte again. */
export function touch(fd: number, body: string): void {
  writeSync(fd, body.slice(0, 1), 0);
}

/** Reports a write to the watchers of the directory. No process needs the modification time of a released file, so moving it does no harm. */
export function notifyWatchers(path: string): void {
  try {
    lutimesSync(path, Date.now() / 1000, Date.now() / 1000);
  } catch {
    // Followed and removed by now (ENOENT). Other failures do no harm either: the file is released all the same, and waiters poll, too.
  }
}

/** The inode of an open file; undefined if its path leads elsewhere by now. */
export function inodeIfSame(fd: number, path: string): bigint | undefined {
  const there = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return there?.ino === fstatSync(fd, { bigint: true }).ino ? there.ino : undefined;
}

/**
 * The kernel's lock is asked first: a holder lets go of it after its last write, so a reader that finds it free reads that write. Only if
 * the file was replaced meanwhile, and so has no name any more, its successor is read instead.
 */
export function readFile(path: string, locks: KernelLocks | undefined): StoredFile | undefined {
  for (let reads = 1; ; reads += 1) {
    let fd: number;
    try {
      fd = openSync(path, READ);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      if ((error as NodeJS.ErrnoException).code === 'ELOOP')
        throw new Error(`${path} is a symbolic link: refused`, { cause: error });
      throw error;
    }
    try {
      const unlocked = locks === undefined ? undefined : isUnlocked(locks, fd);
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new Error(`${path} is not a regular file: refused`);
      if (stat.size > MAX_FILE_BYTES) throw new Error(`${path} is too large for a lock file: refused`);
      if (unlocked === true && stat.nlink === 0 && reads < MOST_READS) continue;
      return {
        body: readText(fd, stat.size),
        modifiedAt: stat.mtimeMs,
        device: String(stat.dev),
        // A file without a name. Some file systems do not count names: then the kernel's lock says nothing.
        unlocked: stat.nlink === 0 ? undefined : unlocked,
      };
    } finally {
      closeSync(fd);
    }
  }
}

function readText(fd: number, expected: number): string {
  let size = 0;
  for (let more = -1; more !== 0 && size < expected; size += more) {
    more = readSync(fd, scratch, size, scratch.length - size, size);
  }
  // Without the padding after a longer record, see `overwrite`.
  while (size > 1 && scratch[size - 1] === SPACE) size -= 1;
  return scratch.toString('utf8', 0, size);
}

/** For clean-up: a file that stays does no harm. */
export function unlinkIfWeMay(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another user's in a sticky directory (EPERM, EACCES), a read-only disk (EROFS), gone already (ENOENT), a broken disk (EIO): no
    // failure may undo what was achieved before, and the next process that may remove the file does.
  }
}

/** The same for a directory, unless there is something in it. */
export function removeFolderIfWeMay(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // As above, or not empty (ENOTEMPTY).
  }
}

export function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Whether an open file begins with these bytes. */
export function holds(fd: number, bytes: Buffer): boolean {
  return readSync(fd, scratch, 0, bytes.length, 0) === bytes.length && bytes.compare(scratch, 0, bytes.length) === 0;
}

/** The inode of the file at a path. */
export function inodeAt(path: string): bigint | undefined {
  return lstatSync(path, { throwIfNoEntry: false, bigint: true })?.ino;
}
