import { existsSync, lstatSync, mkdirSync, statfsSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { OptionError } from '@solorun/core';

/**
 * statfs(2) magic numbers: NFS, SMB, SMB2, CIFS, 9P, AFS, Ceph, GPFS, Lustre. Clients cache listings, so two of them may see
 * different directories. A mount through FUSE cannot be told from a local disk.
 */
const NETWORK_FILE_SYSTEMS = new Set([
  0x6969, 0x517b, 0xfe534d42, 0xff534d42, 0x01021997, 0x5346414f, 0x00c36400, 0x47504653, 0x0bd00bd0,
]);

export interface DirectoryTerms {
  /** False: the directory is the user's, and is neither made nor judged. */
  readonly own: boolean;
  readonly allowNetworkFileSystem: boolean;
}

/** @throws OptionError if locks cannot be kept there */
export function openDirectory(directory: string, { own, allowNetworkFileSystem }: DirectoryTerms): Stats {
  const stat = own ? prepareDirectory(directory) : requireDirectory(directory);
  refuseNetworkFileSystem(directory, allowNetworkFileSystem);
  return stat;
}

/** Makes the directory for its owner alone if it is not there, and refuses one in which other users could fake locks. */
function prepareDirectory(directory: string): Stats {
  makeDirectory(directory);
  const stat = requireDirectory(directory);
  if ((stat.mode & 0o002) !== 0) {
    throw new OptionError(
      `The lock directory ${directory} can be written by everybody, so anybody could take or fake a lock: chmod o-w it, or use a directory of your own.`,
    );
  }
  return stat;
}

/** mkdir -p, by hand: Node's own never returns below /proc, where a new directory is always "not found". */
function makeDirectory(directory: string): void {
  const attempt = (): boolean => {
    try {
      mkdirSync(directory, { mode: 0o700 });
      return true;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return true;
      if (code === 'ENOENT') return false;
      throw new OptionError(`Cannot make the lock directory ${directory}: ${message}`);
    }
  };
  if (attempt()) return;
  const parent = dirname(directory);
  if (parent !== directory && !existsSync(parent)) makeDirectory(parent);
  if (!attempt()) throw new OptionError(`Cannot make the lock directory ${directory}: ${parent} takes no new directories.`);
}

function requireDirectory(directory: string): Stats {
  const stat = lstatSync(directory, { throwIfNoEntry: false });
  if (stat === undefined) throw new OptionError(`There is no directory ${directory}.`);
  if (stat.isSymbolicLink())
    throw new OptionError(`The lock directory ${directory} is a symbolic link: give the directory itself.`);
  if (!stat.isDirectory()) throw new OptionError(`${directory} is not a directory.`);
  return stat;
}

function refuseNetworkFileSystem(directory: string, allow: boolean): void {
  const type = process.platform === 'linux' && !allow ? statfsSync(directory).type : 0;
  if (!NETWORK_FILE_SYSTEMS.has(type >>> 0)) return;
  throw new OptionError(
    `${directory} is on a network file system, whose clients may see an old listing, so two could hold one lock. ` +
      'Use a database provider between machines; or, if it is mounted without caching, say allowNetworkFileSystem: true.',
  );
}

/** Nothing is known of the locks of a directory that has gone. */
export function goneError(directory: string, cause: unknown): Error {
  return new Error(`the lock directory ${directory} is gone: restart the program, which makes it again`, { cause });
}
