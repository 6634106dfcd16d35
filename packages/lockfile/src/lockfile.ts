import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { OptionError, type Finding, type Guarantees, type JobRecord, type LockProvider } from '@solorun/core';
import { bindVerbs } from '@solorun/core/server';
import { FLUSHES } from './guarantees.ts';
import { FLOOR_OF_ALL, keyOf } from './key.ts';
import { LockfileProvider, type LockfileTerms } from './provider.ts';
import type { FileStore } from './store.ts';
import { examineDirectory } from './stores/examine.ts';
import { localStore } from './stores/local.ts';

interface CommonOptions {
  /**
   * Called before a lock is taken over from a holder that has expired or died. False leaves the lock alone. It decides by what you
   * know: a process table of your own, an operator's flag. @default takes over
   */
  readonly onStale?: ((record: JobRecord) => boolean | Promise<boolean>) | undefined;
  /**
   * Which writes are flushed to the disk before the handler starts, and before it counts as done. `occurrences`: writes that carry an
   * occurrence, so that a power cut cannot bring one back. `always`: all writes, so that fences never go back either. `never`: none.
   * @default 'occurrences'
   */
  readonly flush?: 'occurrences' | 'always' | 'never' | undefined;
}

export interface LocalLockOptions extends CommonOptions {
  /**
   * How a crash on this machine is noticed before the lease expires. `kernel`: by a lock that the kernel frees with the process.
   * `processes`: by the process table, within one pid namespace. `never`: by expiry alone. @default 'kernel', else 'processes'
   */
  readonly crashDetection?: 'kernel' | 'processes' | 'never' | undefined;
  /** Accepts NFS or SMB. Safe only if it is mounted without caching of attributes and listings. @default false */
  readonly allowNetworkFileSystem?: boolean | undefined;
}

export type LockfileOptions =
  /** A directory for locks alone; made with mode 0700 if it does not exist. */
  | ({ readonly directory: string } & LocalLockOptions)
  /** Any place that can keep files: see `FileStore`. */
  | ({ readonly store: FileStore } & CommonOptions);

export interface Lockfile {
  /**
   * Locks as files, without a server. Processes that share the directory exclude each other. The lock of a killed holder on the same
   * machine comes free at once, that of a paused one when its lease expires by the file system's clock.
   *
   * @throws OptionError if the directory is a symbolic link, open to everybody, or on a network file system.
   * @example
   * const solo = createSolo({ provider: lockfile({ directory: '/var/lib/app/locks' }) });
   */
  (options: LockfileOptions): LockProvider;
  /**
   * One process at a time touches this file: the lock's files stand beside it, as `<file>.<generation>.lock`. The lock is that of the
   * file, so all names that a solo uses with this provider are one lock. The file need not exist yet; its directory must.
   * Two paths to one file through symbolic links are one lock.
   *
   * @example
   * const solo = createSolo({ provider: lockfile.beside('data/accounts.json') });
   * await solo.run('accounts', rewriteAccounts, { onBusy: 'wait', waitMs: 10_000 });
   */
  beside(path: string, options?: LocalLockOptions): LockProvider;
}

export const lockfile: Lockfile = Object.assign(openLockfile, { beside: besideFile });

function openLockfile(options: LockfileOptions): LockProvider {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError("lockfile takes an object, for example lockfile({ directory: '/var/lib/app/locks' }).");
  }
  if ('store' in options)
    return provider(
      { store: options.store, keyOf, floorKey: FLOOR_OF_ALL, reach: 'fleet', forgetsSignals: false, examine: () => [] },
      options,
    );
  if (typeof options.directory === 'string' && options.directory.startsWith('~')) {
    throw new OptionError(`${options.directory}: only a shell knows what "~" means; give the whole path.`);
  }
  if (typeof options.directory !== 'string' || options.directory === '') {
    throw new OptionError("lockfile needs a directory, for example lockfile({ directory: '/var/lib/app/locks' }).");
  }
  return provider({ ...local(options.directory, true, options), keyOf, floorKey: FLOOR_OF_ALL }, options);
}

function besideFile(path: string, options: LocalLockOptions = {}): LockProvider {
  if (typeof path !== 'string' || path === '') throw new OptionError('lockfile.beside needs the path of a file.');
  const target = realPath(resolve(path));
  const name = basename(target);
  // Room for the generation within the 255 bytes of a file name.
  const key = Buffer.byteLength(name) > 220 ? keyOf(name) : name;
  return provider({ ...local(dirname(target), false, options), keyOf: () => key, floorKey: key }, options);
}

/** A local disk serves this machine. To allow a network file system is to say that the directory serves more. */
function reachOf({ allowNetworkFileSystem = false }: LocalLockOptions): Guarantees['reach'] {
  return allowNetworkFileSystem ? 'fleet' : 'host';
}

/** The file itself, also where a symbolic link points to one that does not exist yet. */
function realPath(path: string, links = 40): string {
  const parent = dirname(path);
  if (!existsSync(parent)) throw new OptionError(`There is no directory ${parent} for ${path}: lockfile.beside needs it.`);
  const place = join(realpathSync(parent), basename(path));
  const stat = lstatSync(place, { throwIfNoEntry: false });
  if (stat?.isSymbolicLink() !== true) return place;
  if (links === 0) throw new OptionError(`${path} is a symbolic link that leads nowhere.`);
  return realPath(resolve(dirname(place), readlinkSync(place)), links - 1);
}

type Place = Pick<LockfileTerms, 'store' | 'keyOf' | 'floorKey' | 'reach' | 'forgetsSignals' | 'examine'>;

function local(directory: string, own: boolean, options: LocalLockOptions): Omit<Place, 'keyOf' | 'floorKey'> {
  const absolute = resolve(directory);
  const examine = (): readonly Finding[] => examineDirectory(absolute, directory);
  return { store: openLocal(directory, own, options), reach: reachOf(options), forgetsSignals: true, examine };
}

function openLocal(directory: string, own: boolean, options: LocalLockOptions): FileStore {
  const { crashDetection = 'kernel', allowNetworkFileSystem = false } = options;
  if (!['kernel', 'processes', 'never'].includes(crashDetection)) {
    throw new OptionError(`crashDetection is 'kernel', 'processes' or 'never', not ${String(crashDetection)}.`);
  }
  const store = localStore({ directory, own, allowNetworkFileSystem, kernelLocks: crashDetection === 'kernel' });
  return crashDetection === 'never' ? { ...store, proof: { pid: process.pid } } : store;
}

function provider(place: Place, { onStale, flush = 'occurrences' }: CommonOptions): LockProvider {
  if (!FLUSHES.includes(flush)) {
    throw new OptionError(`flush is 'occurrences', 'always' or 'never', not ${String(flush)}.`);
  }
  return bindVerbs(new LockfileProvider({ ...place, flush, onStale }));
}
