import { closeSync, fstatSync, linkSync, lstatSync, openSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { OptionError } from '@solorun/core';
import { unlessAborted } from '@solorun/core/server';
import { processProof } from '../holder.ts';
import type { FileStore, Proof, StoredFile } from '../store.ts';
import { createBreather } from './breather.ts';
import { prepareDirectory, refuseNetworkFileSystem, requireDirectory } from './directory.ts';
import {
  CREATE,
  holds,
  inodeAt,
  inodeIfSame,
  overwrite,
  readFile,
  removeFolderIfWeMay,
  tellWatchers,
  TEMPORARY,
  temporaryName,
  touch,
  unlinkIfWeMay,
  unlinkQuietly,
  WRITE,
  writeWhole,
} from './files.ts';
import { createFlusher } from './flusher.ts';
import { isUnlocked, loadKernelLocks, type KernelLocks } from './kernel-locks.ts';
import { flatLayout, spreadLayout } from './layout.ts';
import { createListings } from './listings.ts';
import { createWatchers } from './watch.ts';

/*
 * A directory on a local disk.
 *
 * System calls here are synchronous: on a local disk they take microseconds, and a hop through the thread pool several times that.
 * Now and then they make room for the rest of the program. Only a flush may take long; while one is under way, others go on.
 *
 * A file that is held stays open, and its holder reads, renews and releases it there. To replace a file by another takes longer than
 * all else together (ext4 starts to write the new one out), so that is left for what must never be seen, or survive, in halves.
 */

export interface LocalStoreOptions {
  readonly directory: string;
  /** False: tell deaths by the process table alone. */
  readonly kernelLocks: boolean;
  readonly allowNetworkFileSystem: boolean;
  /** False: the directory is the user's, and is neither made nor judged. */
  readonly own: boolean;
}

/** Readable for others only as far as the directory and the umask allow. */
const FILE_MODE = 0o660;
/** Linux's coarse clock, which stamps files, moves in steps of up to 10 ms (HZ = 100). */
const GRANULARITY_MS = 10;
/** Released files that may be used up for the next generation. */
const MOST_RELEASED = 1_000;
/** What fits in a page is written as a whole or not at all, whenever its writer is killed. */
const PAGE_BYTES = 4096;
/** Whoever crashed while creating a file left its temporary form; nobody takes this long, in ms. */
const LEFT_BEHIND_MS = 60 * 60 * 1000;

interface HeldFile {
  readonly fd: number;
  readonly body: string;
  readonly bytes: Buffer;
  /** It was opened under its temporary name, and by that name a watch of the directory tells of what is written. */
  readonly quiet: boolean;
}

export function localStore(options: LocalStoreOptions): FileStore {
  const directory = resolve(options.directory);
  const stat = options.own ? prepareDirectory(directory) : requireDirectory(directory);
  refuseNetworkFileSystem(directory, options.allowNetworkFileSystem);
  const names = readdirSync(directory);
  const layout = options.own ? spreadLayout(directory, stat.mode & 0o7777, names) : flatLayout(directory);
  const leftBehind = names.filter((name) => TEMPORARY.test(name));
  const loaded = options.kernelLocks ? loadKernelLocks() : undefined;
  const lockedOn = loaded === undefined ? undefined : lockingDevice(directory, loaded);
  const locks = lockedOn === undefined ? undefined : loaded;
  const proof: Proof = { ...processProof(), lockedOn };
  /** Open, and locked where the kernel can: the files that this process holds. */
  const held = new Map<string, HeldFile>();
  /** What this process made and released: nobody writes there any more. By inode, for others may remove and make files too. */
  const released = new Map<string, bigint>();
  /** Directories whose own entry is on the disk. */
  const flushed = new Set<string>([directory]);
  const flusher = createFlusher();
  const watchers = createWatchers();
  const listings = createListings();
  const breathe = createBreather();
  let clockFd: number | undefined;
  let closed = false;

  const pathOf = (key: string): string => `${layout.folderOf(key)}${sep}${key}`;

  function forget(key: string): void {
    const file = held.get(key);
    if (file === undefined) return;
    held.delete(key);
    flusher.close(file.fd);
  }

  function gone(cause: unknown): Error {
    return new Error(`the lock directory ${directory} is gone: restart the program, which makes it again`, { cause });
  }

  function openTemporary(mode: number): { fd: number; path: string } {
    const path = `${directory}${sep}${temporaryName()}`;
    try {
      return { path, fd: openSync(path, CREATE, mode) };
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? gone(error) : error;
    }
  }

  function writeTemporary(bytes: Buffer): { fd: number; path: string } {
    const { path, fd } = openTemporary(FILE_MODE);
    try {
      writeWhole(fd, bytes);
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
      // Gone (ENOENT), or a link or something else by now (ELOOP, EACCES, …), and then not to be used up. A new file is made instead;
      // what this process lacks (EMFILE) is told of that one.
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

  /** Gives a file its name, in a directory that is made if need be. */
  function link(path: string, key: string): void {
    try {
      linkSync(path, pathOf(key));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      layout.make(key);
      flushed.delete(layout.folderOf(key));
      linkSync(path, pathOf(key));
    }
  }

  /** Visible, and held from now on; not yet on the disk. Undefined: another process has created it. */
  function create(key: string, body: string, spare: string | undefined): HeldFile | undefined {
    const bytes = Buffer.from(body);
    const used = spare === undefined ? undefined : useUp(spare, bytes);
    const { fd, path } = used ?? writeTemporary(bytes);
    let created: HeldFile | undefined;
    try {
      // Locked before anybody can see it: a file that is visible and not locked means a death.
      if (used === undefined) locks?.tryLock(fd);
      if (used === undefined) link(path, key);
      else linkSync(path, pathOf(key));
      created = { fd, body, bytes, quiet: used === undefined };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A faster process may also have removed what was to be used up.
      if (code !== 'EEXIST' && (code !== 'ENOENT' || used === undefined)) throw error;
    } finally {
      // The file stands by its name; what is left of its temporary form is swept one day.
      unlinkIfWeMay(path);
      if (created === undefined) closeSync(fd);
    }
    return created;
  }

  /** Until a file that has just been created would survive a crash of the machine, and so would its directory. */
  async function flushNew(key: string, fd: number, signal: AbortSignal | undefined): Promise<void> {
    await flusher.file(fd, false, signal);
    signal?.throwIfAborted();
    await flushEntries(layout.folderOf(key));
  }

  async function flushEntries(folder: string): Promise<void> {
    if (flushed.has(folder)) return flusher.directory(folder);
    await Promise.all([flusher.directory(folder), flusher.directory(directory)]);
    flushed.add(folder);
  }

  /** A file of ours in the place of the one that is there. False: that is not the one any more that was to be replaced. */
  async function replace(key: string, bytes: Buffer, inode: bigint, durable: boolean): Promise<boolean> {
    const file = held.get(key);
    const path = pathOf(key);
    const temporary = writeTemporary(bytes);
    let replaced = false;
    try {
      if (durable) {
        await flusher.file(temporary.fd, true);
        requireOpen();
      }
      // Looked at again: a flush takes long.
      if (!durable || inodeAt(path) === inode) {
        renameSync(temporary.path, path);
        replaced = true;
      }
    } finally {
      flusher.close(temporary.fd);
      if (!replaced) unlinkIfWeMay(temporary.path);
      // Only now: a process that finds the old file unlocked must also find it replaced. But also if it failed: its holder is done with
      // it, and a full disk must not keep others out for as long as this process lives.
      if (held.get(key) === file) forget(key);
    }
    if (replaced && durable) await flushEntries(layout.folderOf(key));
    return replaced;
  }

  function requireOpen(): void {
    if (closed) throw new Error('this lockfile provider is closed');
  }

  function sweep(now: number): void {
    for (const name of leftBehind.splice(0)) {
      const path = join(directory, name);
      const there = lstatSync(path, { throwIfNoEntry: false });
      if (there === undefined || now - there.mtimeMs <= LEFT_BEHIND_MS) continue;
      if (there.isDirectory()) removeFolderIfWeMay(path);
      else unlinkIfWeMay(path);
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

  async function listIn(folder: string, prefix: string): Promise<string[]> {
    try {
      return (await listings.next(folder)).startingWith(prefix);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // Made with its first lock. But nothing is known of locks whose directory has gone.
      if (lstatSync(directory, { throwIfNoEntry: false }) === undefined) throw gone(error);
      return [];
    }
  }

  async function listAll(): Promise<string[]> {
    const found: string[][] = [];
    for (const folder of layout.folders()) {
      await breathe();
      found.push(await listIn(folder, ''));
    }
    return found.flat();
  }

  /** One's own file needs no lock to tell that its holder lives, and no second look at what it says. Undefined: it says something else. */
  function readHeld({ fd, body, bytes }: HeldFile): StoredFile | undefined {
    const { mtimeMs, nlink, dev } = fstatSync(fd);
    if (nlink === 0 || !holds(fd, bytes)) return undefined;
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

    async createExclusive(key, body, durable, spare, signal) {
      requireOpen();
      const created = create(key, body, durable ? undefined : spare);
      if (created === undefined) return false;
      // Somebody deleted what this process held under the same name.
      forget(key);
      held.set(key, created);
      // It is visible before it is on the disk, so that other processes are refused at once and need not flush files of their own. A
      // crash of the machine now may leave it or not: nothing was granted.
      if (durable) {
        const flush = flushNew(key, created.fd, signal);
        await (signal === undefined ? flush : unlessAborted(flush, signal));
      }
      return true;
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
      const inode = file === undefined ? inodeAt(path) : inodeIfSame(file.fd, path);
      if (inode === undefined) {
        forget(key);
        return false;
      }
      if (file !== undefined && care === 'loose' && bytes.length <= PAGE_BYTES) {
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
      return replace(key, bytes, inode, care === 'durable');
    },

    async list(prefix) {
      requireOpen();
      return prefix === '' ? listAll() : listIn(layout.folderOf(prefix), prefix);
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

    watch: (prefix, signal) => watchers.next(layout.folderOf(prefix), prefix, signal),

    async close() {
      closed = true;
      flusher.end();
      for (const key of held.keys()) forget(key);
      if (clockFd !== undefined) closeSync(clockFd);
      clockFd = undefined;
      watchers.close();
    },
  };
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
