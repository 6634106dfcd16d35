import { closeSync, linkSync, readdirSync, renameSync } from 'node:fs';
import { resolve, sep } from 'node:path';
import { bindVerbs, unlessAborted } from '@solorun/core/server';
import { processProof } from '../holder.ts';
import type { Care, FileStore, Proof, StoredFile } from '../store.ts';
import { createBreather } from './breather.ts';
import { StoreClock } from './clock.ts';
import { openDirectory, type DirectoryTerms } from './directory.ts';
import { Entries } from './entries.ts';
import { inodeAt, inodeIfSame, overwrite, readFile, notifyWatchers, unlinkIfWeMay, unlinkQuietly } from './files.ts';
import { Flusher } from './flusher.ts';
import { HeldFiles, readHeld, writeAgain, type HeldFile } from './held-file.ts';
import { loadKernelLocks, type KernelLocks } from './kernel-locks.ts';
import { Keys } from './keys.ts';
import { flatLayout, spreadLayout, type Layout } from './layout.ts';
import { lockingDevice } from './locking-device.ts';
import { Spares } from './spares.ts';
import { temporariesAmong, writeTemporary } from './temporary.ts';
import { createWatchers, type Watchers } from './watch.ts';

/*
 * A directory on a local disk.
 *
 * System calls here are synchronous: on a local disk they take microseconds, and a hop through the thread pool several times that.
 * Now and then they make room for the rest of the program. Only a flush may take long; while one is under way, others go on.
 *
 * A file that is held stays open, and its holder reads, renews and releases it there. To replace a file by another takes longer than
 * all else together (ext4 starts to write the new one out), so that is left for records that must never be seen, or survive, in halves.
 */

export interface LocalStoreOptions extends DirectoryTerms {
  readonly directory: string;
  /** False: only the process table shows deaths. */
  readonly kernelLocks: boolean;
}

/** So much fits in a page, and is written as a whole or not at all, whenever its writer is killed. */
const PAGE_BYTES = 4096;

/** Processes that make one directory at the same moment, each in the place of the one before. */
const MOST_TRIES = 8;

export function localStore(options: LocalStoreOptions): FileStore {
  return bindVerbs(new LocalStore(options));
}

class LocalStore implements FileStore {
  readonly kind = 'local';
  /** Linux's coarse clock, which stamps files, moves in steps of up to 10 ms (HZ = 100). */
  readonly granularityMs = 10;
  readonly proof: Proof;

  readonly #directory: string;
  readonly #layout: Layout;
  /** Undefined: no addon, or a file system that takes no locks. */
  readonly #locks: KernelLocks | undefined;
  readonly #spares: Spares;
  readonly #clock: StoreClock;
  readonly #flusher = new Flusher();
  readonly #held = new HeldFiles(this.#flusher);
  readonly #entries: Entries;
  readonly #watchers: Watchers = createWatchers();
  readonly #keys: Keys;
  readonly #breathe = createBreather();
  #closed = false;

  constructor(options: LocalStoreOptions) {
    const directory = resolve(options.directory);
    const stat = openDirectory(directory, options);
    const names = readdirSync(directory);
    this.#directory = directory;
    this.#layout = options.own ? spreadLayout(directory, stat.mode & 0o7777, names) : flatLayout(directory);
    this.#clock = new StoreClock(directory, temporariesAmong(names));
    const loaded = options.kernelLocks ? loadKernelLocks() : undefined;
    const lockedOn = loaded === undefined ? undefined : lockingDevice(directory, loaded);
    this.#locks = lockedOn === undefined ? undefined : loaded;
    this.#spares = new Spares(this.#locks);
    this.#entries = new Entries(directory, this.#flusher);
    this.#keys = new Keys(directory, this.#layout, this.#breathe);
    this.proof = { ...processProof(), lockedOn };
  }

  async now(): Promise<number> {
    const turn = this.#breathe();
    if (turn !== undefined) await turn;
    this.#requireOpen();
    return this.#clock.now();
  }

  async createExclusive(
    key: string,
    body: string,
    durable: boolean,
    spare?: string,
    signal?: AbortSignal,
  ): Promise<boolean | 'from spare'> {
    this.#requireOpen();
    const created = this.#create(key, body, durable ? undefined : spare);
    if (created === undefined) return false;
    // If this process held a file by that name, another process has deleted it.
    this.#held.forget(key);
    this.#held.set(key, created);
    // It is visible before it is on the disk, so that other processes are refused at once and need not flush files of their own. A
    // crash of the machine now may leave it or not: nothing was granted.
    if (durable) {
      const flush = this.#flushNew(key, created.fd, signal);
      await (signal === undefined ? flush : unlessAborted(flush, signal));
    }
    // A spare was opened under its lasting name.
    return created.quiet ? true : 'from spare';
  }

  async read(key: string): Promise<StoredFile | undefined> {
    const turn = this.#breathe();
    if (turn !== undefined) await turn;
    this.#requireOpen();
    const own = this.#held.get(key);
    return (own && readHeld(own, this.#locks !== undefined)) ?? readFile(this.#pathOf(key), this.#locks);
  }

  async write(key: string, body: string, care: Care): Promise<boolean> {
    this.#requireOpen();
    const path = this.#pathOf(key);
    const file = this.#held.get(key);
    if (file?.body === body) {
      const stands = writeAgain(file, path);
      if (!stands) this.#held.forget(key);
      return stands;
    }
    const bytes = Buffer.from(body);
    // Read before the write: once released, the file may be followed and removed at any moment.
    const inode = file === undefined ? inodeAt(path) : inodeIfSame(file.fd, path);
    if (inode === undefined) {
      this.#held.forget(key);
      return false;
    }
    if (file === undefined || care !== 'loose' || bytes.length > PAGE_BYTES) {
      return this.#replace(key, bytes, inode, care === 'durable');
    }
    this.#writeLast(key, path, file, bytes, inode);
    return true;
  }

  async list(prefix: string): Promise<string[]> {
    this.#requireOpen();
    return prefix === '' ? this.#keys.all() : this.#keys.startingWith(prefix);
  }

  async letGo(key: string, body: string): Promise<void> {
    if (this.#held.get(key)?.body === body) this.#held.forget(key);
  }

  async remove(key: string): Promise<void> {
    this.#requireOpen();
    unlinkQuietly(this.#pathOf(key));
    this.#spares.forget(key);
    this.#held.forget(key);
  }

  watch(prefix: string, signal: AbortSignal): Promise<void> {
    return this.#watchers.next(this.#layout.folderOf(prefix), prefix, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#flusher.end();
    this.#held.forgetAll();
    this.#clock.close();
    this.#watchers.close();
  }

  #requireOpen(): void {
    if (this.#closed) throw new Error('this lockfile provider is closed');
  }

  #pathOf(key: string): string {
    return `${this.#layout.folderOf(key)}${sep}${key}`;
  }

  /** Visible, and held from now on; not yet on the disk. Undefined: another process has created it. */
  #create(key: string, body: string, spare: string | undefined): HeldFile | undefined {
    const bytes = Buffer.from(body);
    const used = spare === undefined ? undefined : this.#spares.useUp(spare, this.#pathOf(spare), bytes);
    const { fd, path } = used ?? writeTemporary(this.#directory, bytes);
    let created: HeldFile | undefined;
    try {
      // Locked before any process can see it: a file that is visible and not locked means a death.
      if (used === undefined) this.#locks?.tryLock(fd);
      if (used === undefined) this.#link(path, key);
      else linkSync(path, this.#pathOf(key));
      created = { fd, body, bytes, quiet: used === undefined };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A faster process may also have removed the file that was to be used up.
      if (code !== 'EEXIST' && (code !== 'ENOENT' || used === undefined)) throw error;
    } finally {
      // The file stands by its name; a temporary form that stays is swept one day.
      unlinkIfWeMay(path);
      if (created === undefined) closeSync(fd);
    }
    return created;
  }

  /** Gives a file its name, in a directory that is made if need be. */
  #link(path: string, key: string): void {
    for (let tries = 1; ; tries += 1) {
      try {
        return linkSync(path, this.#pathOf(key));
      } catch (error) {
        // Also if another process has made the same directory at that moment: an empty one is replaced by another.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === MOST_TRIES) throw error;
      }
      this.#layout.make(key);
      this.#entries.made(this.#layout.folderOf(key));
    }
  }

  /** Until a file that has just been created would survive a crash of the machine, and so would its directory. */
  async #flushNew(key: string, fd: number, signal: AbortSignal | undefined): Promise<void> {
    await this.#flusher.file(fd, false, signal);
    signal?.throwIfAborted();
    await this.#entries.flush(this.#layout.folderOf(key));
  }

  /** In place: the holder's last write to a file of its own, which may be used up from now on. */
  #writeLast(key: string, path: string, file: HeldFile, bytes: Buffer, inode: bigint): void {
    try {
      overwrite(file.fd, bytes, file.bytes.length);
    } finally {
      this.#held.forget(key);
    }
    this.#spares.add(key, inode);
    if (file.quiet) notifyWatchers(path);
  }

  /** A file of ours in the place of the one that is there. False: another one stands there by now than the one to be replaced. */
  async #replace(key: string, bytes: Buffer, inode: bigint, durable: boolean): Promise<boolean> {
    const file = this.#held.get(key);
    const path = this.#pathOf(key);
    const temporary = writeTemporary(this.#directory, bytes);
    let replaced = false;
    try {
      if (durable) {
        await this.#flusher.file(temporary.fd, true);
        this.#requireOpen();
      }
      // Checked once more: a flush takes long.
      if (!durable || inodeAt(path) === inode) {
        renameSync(temporary.path, path);
        replaced = true;
      }
    } finally {
      this.#flusher.close(temporary.fd);
      if (!replaced) unlinkIfWeMay(temporary.path);
      // Only now: a process that finds the old file unlocked must also find it replaced. But also if it failed: its holder is done with
      // it, and a full disk must not keep others out for as long as this process lives.
      if (this.#held.get(key) === file) this.#held.forget(key);
    }
    if (replaced && durable) await this.#entries.flush(this.#layout.folderOf(key));
    return replaced;
  }
}
