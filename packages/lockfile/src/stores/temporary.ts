import { randomUUID } from 'node:crypto';
import { closeSync, lstatSync, openSync } from 'node:fs';
import { join, sep } from 'node:path';
import { goneError } from './directory.ts';
import { CREATE, removeFolderIfWeMay, unlinkIfWeMay, unlinkQuietly, writeWhole } from './files.ts';

/** A file before it gets its lasting name, and open. */
export interface Temporary {
  readonly fd: number;
  readonly path: string;
}

/** Unmistakably ours: `beside` works in directories that are the user's. */
const TEMPORARY = /^\.solorun-[0-9a-f-]{36}\.tmp$/;
/** Readable for others only as far as the directory and the umask allow. */
const FILE_MODE = 0o660;
/** A process that crashed while it created a file left its temporary form; no process takes this long to create one, in ms. */
const LEFT_BEHIND_MS = 60 * 60 * 1000;

export function temporaryName(): string {
  return `.solorun-${randomUUID()}.tmp`;
}

export function openTemporary(directory: string, mode: number): Temporary {
  const path = `${directory}${sep}${temporaryName()}`;
  try {
    return { path, fd: openSync(path, CREATE, mode) };
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? goneError(directory, error) : error;
  }
}

export function writeTemporary(directory: string, bytes: Buffer): Temporary {
  const { path, fd } = openTemporary(directory, FILE_MODE);
  try {
    writeWhole(fd, bytes);
  } catch (error) {
    closeSync(fd);
    unlinkQuietly(path);
    throw error;
  }
  return { fd, path };
}

/** The temporary files and directories among the names of a directory: of processes that create files now, or that crashed. */
export function temporariesAmong(names: readonly string[]): string[] {
  return names.filter((name) => TEMPORARY.test(name));
}

/** Removes those that a crash has left behind. */
export function sweep(directory: string, temporaries: readonly string[], now: number): void {
  for (const name of temporaries) {
    const path = join(directory, name);
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there === undefined || now - there.mtimeMs <= LEFT_BEHIND_MS) continue;
    if (there.isDirectory()) removeFolderIfWeMay(path);
    else unlinkIfWeMay(path);
  }
}
