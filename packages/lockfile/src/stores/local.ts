import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  lutimesSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { OptionError } from '@solorun/core';
import { processProof } from '../holder.ts';
import type { FileStore, Proof, StoredFile } from '../store.ts';
import { createBreather } from './breather.ts';
import { prepareDirectory, refuseNetworkFileSystem, requireDirectory } from './directory.ts';
import { isUnlocked, loadKernelLocks, type KernelLocks } from './kernel-locks.ts';
import { createListings } from './listings.ts';
import { createWatchers } from './watch.ts';

/*
 * A directory on a local disk.
 *
 * System calls here are synchronous: on a local disk they take microseconds, and a hop through the thread pool several times that.
 * Now and then they make room for the rest of the program.
 *
 * A file that is held stays open, and its holder reads, renews and releases it there. To replace a file by another takes longer than
 * all else together (ext4 starts to write the new one out), so that is left for what must never be seen, or survive, in halves.
 *
 * Files are opened with O_NOFOLLOW (a symlink planted under a lock's name is refused) and O_NONBLOCK (so is a named pipe).
 */

export interface LocalStoreOptions {
  readonly directory: string;
  /** False: tell deaths by the process table alone. */
  readonly kernelLocks: boolean;
  readonly allowNetworkFileSystem: boolean;
  /** False: the directory is the user's, and is neither made nor judged. */
  readonly own: boolean;
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
const WRITE = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
const CREATE = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
/** Readable for others only as far as the directory and the umask allow. */
const FILE_MODE = 0o660;
/** Linux's coarse clock, which stamps files, moves in steps of up to 10 ms (HZ = 100). */
const GRANULARITY_MS = 10;
/** At a file that is replaced each time. */
const LOOKS = 10;
/** Larger than any record can be. */
const MAX_FILE_BYTES = 64 * 1024;
const SPACE = 0x20;
/** Released files that may be used up for the next generation. */
const MOST_RELEASED = 1_000;
/** What fits in a page is written as a whole or not at all, whenever its writer is killed. */
const PAGE_BYTES = 4096;
/** Every read here ends before the next one begins. */
const scratch = Buffer.allocUnsafe(MAX_FILE_BYTES + 1);
/** Whoever crashed while creating a file left its temporary form; nobody takes this long, in ms. */
const LEFT_BEHIND_MS = 60 * 60 * 1000;

/** Unmistakably ours: `beside` works in directories that are the user's. */
const TEMPORARY = /^\.solorun-[0-9a-f-]{36}\.tmp$/;

function temporaryName(): string {
  return `.solorun-${randomUUID()}.tmp`;
}

interface HeldFile {
  readonly fd: number;
  readonly body: string;
  readonly bytes: Buffer;
  /** It was opened under its temporary name, and by that name a watch of the directory tells of what is written. */
  readonly quiet: boolean;
}

export function localStore(options: LocalStoreOptions): FileStore {
  const directory = resolve(options.directory);
  if (options.own) prepareDirectory(directory);
  else requireDirectory(directory);
  refuseNetworkFileSystem(directory, options.allowNetworkFileSystem);
  const loaded = options.kernelLocks ? loadKernelLocks() : undefined;
  const lockedOn = loaded === undefined ? undefined : lockingDevice(directory, loaded);
  const locks = lockedOn === undefined ? undefined : loaded;
  const proof: Proof = { ...processProof(), lockedOn };
  /** Open, and locked where the kernel can: the files that this process holds. */
  const held = new Map<string, HeldFile>();
  /** What this process made and released: nobody writes there any more. By inode, for others may remove and make files too. */
  const released = new Map<string, bigint>();
  const watchers = createWatchers(directory);
  const listings = createListings(directory);
  const breathe = createBreather();
  let clockFd: number | undefined;
  let closed = false;

  const pathOf = (key: string): string => `${directory}${sep}${key}`;

  function forget(key: string): void {
    const file = held.get(key);
    if (file === undefined) return;
    held.delete(key);
    closeSync(file.fd);
  }

  function openTemporary(mode: number): { fd: number; path: string } {
    const path = pathOf(temporaryName());
    try {
      return { path, fd: openSync(path, CREATE, mode) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new Error(`the lock directory ${directory} is gone: restart the program, which makes it again`, { cause: error });
    }
  }

  function writeTemporary(bytes: Buffer, durable: boolean): { fd: number; path: string } {
    const { path, fd } = openTemporary(FILE_MODE);
    try {
      writeWhole(fd, bytes);
      if (durable) fsyncSync(fd);
    } catch (error) {
      closeSync(fd);
      unlinkQuietly(path);
      throw error;
    }
    return { fd, path };
  }

  /** A file of ours that is needed no more, with new content; undefined if it is not the one we know, or somebody has it open. */
  function useUp(spare: string, bytes: Buffer): { fd: number; path: string } | undefined {
    const inode = released.get(spare);
    if (inode === undefined || locks === undefined) return undefined;
    released.delete(spare);
    const path = pathOf(spare);
    let fd: number;
    try {
      fd = openSync(path, WRITE);
    } catch {
      // Gone, or something else by now: whatever it is, it is not to be used up.
      return undefined;
    }
    try {
      const { ino, nlink, size } = fstatSync(fd, { bigint: true });
      if (ino === inode && nlink === 1n && locks.tryLock(fd)) {
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

  function syncDirectory(): void {
    const fd = openSync(directory, O_RDONLY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  function requireOpen(): void {
    if (closed) throw new Error('this lockfile provider is closed');
  }

  function sweep(now: number): void {
    for (const name of readdirSync(directory)) {
      if (!TEMPORARY.test(name)) continue;
      const stat = lstatSync(pathOf(name), { throwIfNoEntry: false });
      if (stat !== undefined && now - stat.mtimeMs > LEFT_BEHIND_MS) unlinkIfWeMay(pathOf(name));
    }
  }

  function storeNow(): number {
    if (clockFd === undefined) {
      const { path, fd } = openTemporary(0o600);
      clockFd = fd;
      // Only its modification time is wanted, and an open file keeps that without a name.
      unlinkSync(path);
      touch(clockFd, '.');
      sweep(fstatSync(clockFd).mtimeMs);
    }
    touch(clockFd, '.');
    return fstatSync(clockFd).mtimeMs;
  }

  /** One's own file needs no lock to tell that its holder lives, and no second look at what it says. Undefined: it says something else. */
  function readHeld({ fd, body, bytes }: HeldFile): StoredFile | undefined {
    const { mtimeMs, nlink, dev } = fstatSync(fd);
    if (nlink === 0 || readSync(fd, scratch, 0, bytes.length, 0) !== bytes.length) return undefined;
    if (bytes.compare(scratch, 0, bytes.length) !== 0) return undefined;
    return { body, modifiedAt: mtimeMs, device: String(dev), unlocked: locks === undefined ? undefined : false };
  }

  return {
    kind: 'local',
    granularityMs: GRANULARITY_MS,
    proof,

    async now() {
      const turn = breathe();
      if (turn !== undefined) await turn;
      requireOpen();
      return storeNow();
    },

    async createExclusive(key, body, durable, spare) {
      requireOpen();
      const bytes = Buffer.from(body);
      const used = spare === undefined || durable ? undefined : useUp(spare, bytes);
      const { fd, path } = used ?? writeTemporary(bytes, durable);
      let created = false;
      try {
        // Locked before anybody can see it: a file that is visible and not locked means a death.
        if (used === undefined) locks?.tryLock(fd);
        linkSync(path, pathOf(key));
        created = true;
        if (durable) syncDirectory();
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // Whoever is faster may also have removed what was to be used up.
        if (code !== 'EEXIST' && (code !== 'ENOENT' || used === undefined)) {
          if (created) unlinkQuietly(pathOf(key));
          created = false;
          throw error;
        }
      } finally {
        // The file stands by its name; what is left of its temporary form is swept one day.
        unlinkIfWeMay(path);
        if (!created) closeSync(fd);
      }
      if (created) {
        // Somebody deleted what this process held under the same name.
        forget(key);
        held.set(key, { fd, body, bytes, quiet: used === undefined });
      }
      return created;
    },

    async read(key) {
      const turn = breathe();
      if (turn !== undefined) await turn;
      requireOpen();
      const own = held.get(key);
      return (own && readHeld(own)) ?? readFile(pathOf(key), locks);
    },

    async write(key, body, care) {
      requireOpen();
      const path = pathOf(key);
      const file = held.get(key);
      if (file?.body === body) {
        // In place, so that the file system's own clock moves the modification time; utimes would bring ours.
        touch(file.fd, body);
        if (inodeIfSame(file.fd, path) !== undefined) return true;
        forget(key);
        return false;
      }
      const bytes = Buffer.from(body);
      // Asked before it is written: once released, it may be followed and removed at any moment.
      const inode = file === undefined ? undefined : inodeIfSame(file.fd, path);
      if (file === undefined ? lstatSync(path, { throwIfNoEntry: false }) === undefined : inode === undefined) {
        forget(key);
        return false;
      }
      if (file !== undefined && inode !== undefined && care === 'loose' && bytes.length <= PAGE_BYTES) {
        try {
          overwrite(file.fd, bytes, file.bytes.length);
        } finally {
          forget(key);
        }
        // Those that others have removed stay in here.
        if (released.size >= MOST_RELEASED) released.clear();
        released.set(key, inode);
        if (file.quiet) tellWatchers(path);
        return true;
      }
      const durable = care === 'durable';
      try {
        const temporary = writeTemporary(bytes, durable);
        closeSync(temporary.fd);
        renameSync(temporary.path, path);
      } catch (error) {
        // The holder is done with it, and a full disk must not keep others out for as long as this process lives.
        forget(key);
        throw error;
      }
      if (durable) syncDirectory();
      // Only now: whoever finds the old file unlocked must also find it replaced.
      forget(key);
      return true;
    },

    async list(prefix) {
      requireOpen();
      return (await listings.next()).startingWith(prefix);
    },

    async letGo(key, body) {
      if (held.get(key)?.body === body) forget(key);
    },

    async remove(key) {
      requireOpen();
      unlinkQuietly(pathOf(key));
      released.delete(key);
      forget(key);
    },

    watch: (prefix, signal) => watchers.next(prefix, signal),

    async close() {
      closed = true;
      for (const key of held.keys()) forget(key);
      if (clockFd !== undefined) closeSync(clockFd);
      clockFd = undefined;
      watchers.close();
    },
  };
}

/** A disk that fills up takes a part and says so only at the next write. */
function writeWhole(fd: number, bytes: Buffer): void {
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`a record of ${bytes.length} bytes is too large for a lock file`);
  for (let written = 0; written < bytes.length;) {
    written += writeSync(fd, bytes, written, bytes.length - written, written);
  }
}

/** What the new content is shorter by is filled with spaces: no step in between leaves the end of the old one behind. */
function overwrite(fd: number, bytes: Buffer, oldLength: number): void {
  writeWhole(fd, bytes.length < oldLength ? Buffer.concat([bytes, Buffer.alloc(oldLength - bytes.length, ' ')]) : bytes);
}

/** Writes the first byte again. */
function touch(fd: number, body: string): void {
  writeSync(fd, body.slice(0, 1), 0);
}

/** Nobody needs the modification time of a released file, so moving it does no harm, and the directory's watchers hear of it. */
function tellWatchers(path: string): void {
  try {
    lutimesSync(path, Date.now() / 1000, Date.now() / 1000);
  } catch {
    // It is released all the same; who waits looks by the clock.
  }
}

/** The number of an open file; undefined if its path leads elsewhere by now. */
function inodeIfSame(fd: number, path: string): bigint | undefined {
  const there = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return there?.ino === fstatSync(fd, { bigint: true }).ino ? there.ino : undefined;
}

/**
 * The kernel's lock is asked first: a holder lets go of it after its last word, so who finds it free reads that word. Only of a file
 * that was replaced meanwhile, and so has no name any more, the successor is read instead.
 */
function readFile(path: string, locks: KernelLocks | undefined): StoredFile | undefined {
  for (let look = 1; ; look += 1) {
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
      if (unlocked === true && stat.nlink === 0 && look < LOOKS) continue;
      return {
        body: readText(fd, stat.size),
        modifiedAt: stat.mtimeMs,
        device: String(stat.dev),
        // Some file systems do not count names: then the kernel's lock says nothing.
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
  // Without what a longer record left behind, see `overwrite`.
  while (size > 1 && scratch[size - 1] === SPACE) size -= 1;
  return scratch.toString('utf8', 0, size);
}

/** For clean-up: a file that stays does no harm. */
function unlinkIfWeMay(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another user's in a sticky directory, a read-only disk, gone already: whoever may removes it later.
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The device that files in this directory lie on, if its file system takes locks. */
function lockingDevice(directory: string, locks: KernelLocks): string | undefined {
  const path = join(directory, temporaryName());
  const fd = openFirst(directory, path);
  try {
    return isUnlocked(locks, fd) === true && locks.tryLock(fd) ? String(fstatSync(fd).dev) : undefined;
  } finally {
    closeSync(fd);
    unlinkQuietly(path);
  }
}

/** The first thing that is written here shows whether we may. */
function openFirst(directory: string, path: string): number {
  try {
    return openSync(path, CREATE, 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Another user's, a read-only mount, a full disk; what this process lacks (EMFILE) is no fault of the directory.
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new OptionError(`Nothing can be written into the lock directory ${directory}: ${message.split(',', 1)[0]}.`);
  }
}
