// @ts-check
// Lock files, on a disk of their own in memory where root may mount one: small, so that it can be filled.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { slowDisk, slowDiskMissing } from '@solorun/servers/disk';
import { guard } from '@solorun/servers/guard';

/** @import { Place, PlaceOptions } from '../places.js' */

/**
 * @param {PlaceOptions} options
 * @returns {Promise<Place>}
 */
export async function lockfiles({ replicas, directory }) {
  const disk = join(directory, 'disk');
  mkdirSync(disk, { mode: 0o700 });
  const isMounted = diskMissing() === undefined;
  const forget = isMounted ? guard({ command: ['umount', '-l', disk] }) : undefined;
  if (isMounted) execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,nr_inodes=2000,mode=700', 'tmpfs', disk]);
  // Mounts over it are then not copied elsewhere.
  if (isMounted) execFileSync('mount', ['--make-private', disk]);
  const lockDirectory = join(disk, 'locks');
  const flushes = slowDiskMissing() === undefined ? slowDisk({ directory }) : undefined;
  const link = { store: pathToFileURL(lockDirectory).href, ...(flushes === undefined ? {} : { env: flushes.env }) };
  return {
    links: Array.from({ length: replicas }, () => link),
    lockDirectory,
    flushes,
    async leftovers() {
      return [];
    },
    async stop() {
      if (isMounted) execFileSync('umount', ['-l', disk]);
      forget?.();
    },
  };
}

/**
 * Why no disk can be mounted here, and the remedy.
 *
 * @returns {string | undefined}
 */
export function diskMissing() {
  if (process.platform !== 'linux') return 'A disk of its own is a thing of Linux. Remedy: run this on Linux.';
  if (process.getuid?.() !== 0) return 'A disk of its own takes root. Remedy: run this as root.';
  const { status } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'The kernel refuses a mount. Remedy: run this with CAP_SYS_ADMIN.';
}
