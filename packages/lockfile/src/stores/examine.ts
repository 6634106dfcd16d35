import { statfsSync, statSync } from 'node:fs';
import type { Finding } from '@solorun/core';

/**
 * Reports whether a directory can keep locks, for operators.
 *
 * @param shown the directory as the user wrote it
 */
export function examineDirectory(directory: string, shown: string): readonly Finding[] {
  const { mode, uid } = statSync(directory);
  const { bavail, bsize } = statfsSync(directory);
  const whose = process.getuid?.() === uid ? 'this user' : `the user with id ${uid}`;
  return [
    { check: 'directory', state: 'ok', says: `${shown}, mode ${(mode & 0o7777).toString(8)}, of ${whose}` },
    bavail * bsize > 1e6
      ? { check: 'space', state: 'ok', says: `${Math.floor((bavail * bsize) / 1e6)} MB` }
      : { check: 'space', state: 'unsafe', says: 'less than 1 MB is left on this disk' },
  ];
}
