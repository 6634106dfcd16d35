import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { sep } from 'node:path';
import { OptionError } from '@solorun/core';
import { removeFolderIfWeMay } from './files.ts';
import { temporaryName } from './temporary.ts';

/** In which directories the lock files lie. The files of one lock lie together, so one listing shows all of them. */
export interface Layout {
  /** Where the files of a lock lie. The key is that of one of its files, or begins like one: all up to the first dot counts. */
  folderOf(key: string): string;
  /** Every directory that may hold lock files. */
  folders(): string[];
  /** Makes the directory of this file, unless it is there. */
  make(key: string): void;
}

/** In a directory that is the user's, all files lie beside the one that is locked. */
export function flatLayout(directory: string): Layout {
  return { folderOf: () => directory, folders: () => [directory], make: () => {} };
}

/** So many digits of a SHA-256 make 4,096 directories: with 100,000 names, each holds the files of 25. */
const DIGITS = 3;
const FOLDER = /^[0-9a-f]{3}$/;
/** Locks whose directory has been checked. */
const MOST_KNOWN = 10_000;
/** A lock file in the directory itself, where the layout before this one had all of them. */
const OLDER = /^[a-z0-9_~-]+\.[1-9][0-9]{0,17}\.lock$/;

/**
 * Spread over sub-directories by a hash of the name, so that listing the files of one lock costs the same however many names were ever
 * used. They are made when they are needed, and stay. (`printf nightly-backup | sha256sum | cut -c1-3` prints which one.)
 *
 * @param mode of the directory, and so of the sub-directories
 * @param names the entries of the directory
 * @throws OptionError if there are lock files of the older layout: its programs and those of this one do not see each other's locks. Files
 *   that come later are not noticed: to list the directory for each name would cost more than its run (5 ms at 4,096 sub-directories)
 */
export function spreadLayout(directory: string, mode: number, names: readonly string[]): Layout {
  refuseOlderLayout(directory, names);
  const known = new Map<string, string>();

  return {
    folderOf(key) {
      const lock = lockOf(key);
      const before = known.get(lock);
      if (before !== undefined) return before;
      const path = folderFor(directory, lock);
      if (isFolder(path)) {
        if (known.size >= MOST_KNOWN) known.clear();
        known.set(lock, path);
      }
      return path;
    },
    folders: () =>
      readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && FOLDER.test(entry.name))
        .map(({ name }) => `${directory}${sep}${name}`),
    make: (key) => makeFolder(folderFor(directory, lockOf(key)), mode, `${directory}${sep}${temporaryName()}`),
  };
}

function lockOf(key: string): string {
  return key.slice(0, key.indexOf('.'));
}

function folderFor(directory: string, lock: string): string {
  return `${directory}${sep}${createHash('sha256').update(lock).digest('hex').slice(0, DIGITS)}`;
}

/** False: it is not there. */
function isFolder(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (stat.isSymbolicLink()) throw new Error(`${path} is a symbolic link: refused`);
  if (!stat.isDirectory()) throw new Error(`${path} is not a directory: refused`);
  if ((stat.mode & 0o002) !== 0) throw new Error(`${path} can be written by everybody: refused`);
  return true;
}

/**
 * The folder gets its name last, after its mode: a process that is killed in between leaves no folder behind that other users of a shared
 * lock directory cannot enter. `temporary` stands in the lock directory.
 */
function makeFolder(path: string, mode: number, temporary: string): void {
  mkdirSync(temporary, { mode });
  try {
    // The umask has taken bits away, or the file system has put the setgid bit on.
    if ((lstatSync(temporary).mode & 0o7777) !== mode) chmodSync(temporary, mode);
    // An empty folder that another process has made is replaced by this one, which is its equal.
    renameSync(temporary, path);
  } catch (error) {
    removeFolderIfWeMay(temporary);
    // Another process was faster (ENOTEMPTY, EEXIST; in a sticky directory EPERM). Something else by that name is refused when it is used.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) throw error;
  }
}

function refuseOlderLayout(directory: string, names: readonly string[]): void {
  const found = names.find((name) => OLDER.test(name));
  if (found === undefined) return;
  throw new OptionError(
    `The lock directory ${directory} holds ${found}, a lock file of an older version, whose programs would not see the locks of this one: ` +
      'stop all programs that use the directory, then empty it or name another one. (If the file belongs to lockfile.beside, name another one.)',
  );
}
