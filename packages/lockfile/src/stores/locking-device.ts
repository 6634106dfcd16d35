import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { OptionError } from '@solorun/core';
import { CREATE, unlinkQuietly } from './files.ts';
import { isUnlocked, type KernelLocks } from './kernel-locks.ts';
import { temporaryName } from './temporary.ts';

/** The device that files in this directory lie on, if its file system takes locks. */
export function lockingDevice(directory: string, locks: KernelLocks): string | undefined {
  const path = join(directory, temporaryName());
  const file = openFirst(directory, path);
  // A program that starts while the disk is full is to go on when there is space again. The directory takes shared locks as a file does.
  const fd = file ?? openSync(directory, 'r');
  try {
    const takesLocks = isUnlocked(locks, fd) === true && (file === undefined || locks.tryLock(fd));
    return takesLocks ? String(fstatSync(fd).dev) : undefined;
  } finally {
    closeSync(fd);
    unlinkQuietly(path);
  }
}

/** The first file that is written here shows whether we may write. Undefined: there is no space for it. */
function openFirst(directory: string, path: string): number | undefined {
  try {
    return openSync(path, CREATE, 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') return undefined;
    // Another user's, or a read-only mount. A lack of this process (EMFILE) is no fault of the directory.
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new OptionError(`Nothing can be written into the lock directory ${directory}: ${message.split(',', 1)[0]}.`);
  }
}
