import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { OptionError, type Guarantees, type JobRecord, type LockProvider } from '@solorun/core';
import { Generations } from './generations.ts';
import { keyOf } from './key.ts';
import type { FileStore } from './store.ts';
import { localStore } from './stores/local.ts';

interface CommonOptions {
  /**
   * Asked before a lock is taken over from a holder that is expired or dead; false leaves it alone. Give it what you know: a
   * process table of your own, an operator's flag. @default takes over
   */
  readonly onStale?: ((record: JobRecord) => boolean | Promise<boolean>) | undefined;
  /**
   * Which writes are flushed to the disk before the handler starts or counts as done: those that carry an occurrence, so that a
   * power cut cannot bring one back; all of them, so that fences never go back either; or none. @default 'occurrences'
   */
  readonly flush?: 'occurrences' | 'always' | 'never' | undefined;
}

export interface LocalLockOptions extends CommonOptions {
  /**
   * How a crash on this machine is noticed before the lease expires. `kernel`: by a lock that the kernel frees with the process.
   * `processes`: by the process table, within one pid namespace. `never`: by expiry alone. @default 'kernel', else 'processes'
   */
  readonly crashDetection?: 'kernel' | 'processes' | 'never' | undefined;
  /** Accepts NFS or SMB, if it is mounted without caching of attributes and listings. @default false */
  readonly allowNetworkFileSystem?: boolean | undefined;
}

export type LockfileOptions =
  /** A directory for locks alone; made with mode 0700 if it does not exist. */
  | ({ readonly directory: string } & LocalLockOptions)
  /** Any place that can keep files: see `FileStore`. */
  | ({ readonly store: FileStore } & CommonOptions);

export interface Lockfile {
  /**
   * Locks as files: no server, nothing to run. Processes that share the directory exclude each other; a killed holder on the same
   * machine is noticed at once, a paused one when its lease expires by the file system's clock.
   *
   * @throws OptionError if the directory is a symbolic link, open to everybody, or on a network file system.
   * @example
   * const solo = createSolo({ provider: lockfile({ directory: '/var/lib/app/locks' }) });
   */
  (options: LockfileOptions): LockProvider;
  /**
   * One process at a time touches this file: the lock's files stand beside it, as `<file>.<generation>.lock`. The file is what is
   * locked, so whatever names a solo uses with this provider, they are one lock. The file need not exist yet; its directory must.
   * Two paths to one file through symbolic links are one lock.
   *
   * @example
   * const solo = createSolo({ provider: lockfile.beside('data/accounts.json') });
   * await solo.run('accounts', rewriteAccounts, { onBusy: 'wait', waitMs: 10_000 });
   */
  beside(path: string, options?: LocalLockOptions): LockProvider;
}

/** While a holder's death can be noticed by looking, look this often, in ms. */
const LOOK_FOR_DEATH_MS = 100;
/** While only the watch can tell, and in case it missed something, in ms. */
const LOOK_ANYWAY_MS = 5_000;
/** While nothing tells, in ms. */
const LOOK_WITHOUT_WATCH_MS = 500;

export const lockfile: Lockfile = Object.assign(openLockfile, { beside: besideFile });

function openLockfile(options: LockfileOptions): LockProvider {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError("lockfile takes an object, for example lockfile({ directory: '/var/lib/app/locks' }).");
  }
  if ('store' in options) return provider(options.store, options, keyOf, 'fleet');
  if (typeof options.directory === 'string' && options.directory.startsWith('~')) {
    throw new OptionError(`${options.directory}: only a shell knows what "~" means; give the whole path.`);
  }
  if (typeof options.directory !== 'string' || options.directory === '') {
    throw new OptionError("lockfile needs a directory, for example lockfile({ directory: '/var/lib/app/locks' }).");
  }
  return provider(openLocal(options.directory, true, options), options, keyOf, reachOf(options));
}

function besideFile(path: string, options: LocalLockOptions = {}): LockProvider {
  if (typeof path !== 'string' || path === '') throw new OptionError('lockfile.beside needs the path of a file.');
  const target = realPath(resolve(path));
  const name = basename(target);
  // Room for the generation within the 255 bytes of a file name.
  const key = Buffer.byteLength(name) > 220 ? keyOf(name) : name;
  return provider(openLocal(dirname(target), false, options), options, () => key, reachOf(options));
}

/** A local disk is this machine's; whoever allows a network file system says that it is more. */
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

function openLocal(directory: string, own: boolean, options: LocalLockOptions): FileStore {
  const { crashDetection = 'kernel', allowNetworkFileSystem = false } = options;
  if (!['kernel', 'processes', 'never'].includes(crashDetection)) {
    throw new OptionError(`crashDetection is 'kernel', 'processes' or 'never', not ${String(crashDetection)}.`);
  }
  const store = localStore({ directory, own, allowNetworkFileSystem, kernelLocks: crashDetection === 'kernel' });
  return crashDetection === 'never' ? { ...store, proof: { pid: process.pid } } : store;
}

function provider(
  store: FileStore,
  options: CommonOptions,
  key: (name: string) => string,
  reach: Guarantees['reach'],
): LockProvider {
  const { onStale, flush = 'occurrences' } = options;
  if (!['occurrences', 'always', 'never'].includes(flush)) {
    throw new OptionError(`flush is 'occurrences', 'always' or 'never', not ${String(flush)}.`);
  }
  const durable = (occurrence: boolean): boolean => flush === 'always' || (flush === 'occurrences' && occurrence);
  // Leases here end with the process, so they end when it lets go of the store, and their holders are told first.
  const closing = new AbortController();
  const generations = new Generations({ store, keyOf: key, durable, onStale, lost: closing.signal });
  const guarantees = guaranteesOf(store, flush, reach);

  return {
    kind: 'lockfile',
    guarantees,
    tryAcquire: (request, signal) => generations.tryAcquire(request, signal),
    renew: (grant) => generations.renew(grant),
    release: (grant, outcome) => generations.release(grant, outcome),
    async untilFree({ name }, signal) {
      const over = new AbortController();
      const end = (): void => over.abort();
      signal.addEventListener('abort', end, { once: true });
      let watching = store.watch !== undefined;
      let change: Promise<void> | undefined;
      try {
        while (!signal.aborted) {
          // Watched before looked at, so that nothing falls in between.
          if (watching) {
            change ??= store.watch?.(`${key(name)}.`, over.signal).catch(() => {
              // No watches left on this machine (ENOSPC, EMFILE): look by the clock from now on.
              watching = false;
            });
          }
          const { free, deathIsVisible } = await generations.look(name);
          if (free) return;
          const lookAgainMs = deathIsVisible ? LOOK_FOR_DEATH_MS : watching ? LOOK_ANYWAY_MS : LOOK_WITHOUT_WATCH_MS;
          if (await changes(change, lookAgainMs, over.signal)) change = undefined;
        }
      } finally {
        end();
        signal.removeEventListener('abort', end);
      }
    },
    inspect: (name, signal) => generations.inspect(name, signal),
    list: (prefix = '', signal) => generations.list(prefix, signal),
    async close() {
      closing.abort(new Error('the lockfile provider was closed'));
      await store.close();
    },
  };
}

function guaranteesOf(store: FileStore, flush: 'occurrences' | 'always' | 'never', reach: Guarantees['reach']): Guarantees {
  const seesDeaths = store.proof.bootId !== undefined;
  const caveats = [
    'Setting the clock of the machine that keeps the files forward by two thirds of a lease may end it early: two may hold it until the ' +
      "first one's next renewal, up to a third of the lease. If the holder is paused, more than the margin is enough. Slewing does no harm.",
    'Machines exclude each other only if they share the directory itself: a local disk serves one machine and its containers.',
  ];
  if (!seesDeaths)
    caveats.push('Deaths cannot be seen here, so the lock of a killed process comes free only when its lease expires.');
  if (flush === 'never') caveats.push('Nothing is flushed: a power cut may bring back an occurrence that has run.');
  return Object.freeze({
    clock: 'store',
    reach,
    expiry: true,
    unbounded: true,
    crash: seesDeaths ? 'same host at once' : 'by expiry',
    fence: flush === 'always' ? 'durable' : 'until server crash',
    occurrences: true,
    wakeUp: 'push',
    minLeaseMs: Math.max(100, store.granularityMs * 4),
    caveats: Object.freeze(caveats),
  });
}

/** Whether a change came within this time. Ends early when `signal` aborts. */
function changes(change: Promise<void> | undefined, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((answer) => {
    const end = (changed: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      answer(changed);
    };
    const stop = (): void => end(false);
    const timer = setTimeout(stop, ms);
    signal.addEventListener('abort', stop, { once: true });
    void change?.then(() => end(true));
  });
}
