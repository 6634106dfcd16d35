import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { OptionError } from '@solorun/core';
import { CREATE, unlinkQuietly } from './files.ts';
import { isUnlocked, type KernelLocks } from './kernel-locks.ts';
import { temporaryName } from './temporary.ts';

/** The device that files in this directory lie on, if its file system takes locks. */
export function lockingDevice(directory: string, locks: KernelLocks): string | undefined {
  const path = join(directory, temporaryName());
  const fd = openFirst(directory, path);
  try {
    return isUnlocked(locks, fd) === true && locks.tryLock(fd) ? String(fstatSync(fd).dev) : undefined;
  } finally {
    closeSync(fd);
    unlinkQuietly(path);
  }
}

/** The first file that is written here shows whether we may write. */
function openFirst(directory: string, path: string): number {
  try {
    return openSync(path, CREATE, 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Another user's, a read-only mount, a full disk. A lack of this process (EMFILE) is no fault of the directory.
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new OptionError(`Nothing can be written into the lock directory ${directory}: ${message.split(',', 1)[0]}.`);
  }
}
