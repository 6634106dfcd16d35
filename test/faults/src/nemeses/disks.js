// @ts-check
// What happens to the directory of lock files.

import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnSync } from 'node:child_process';
import { slowDiskMissing } from '@solorun/servers/disk';
import { excludes } from '../excluded.js';
import { diskMissing } from '../places/lockfiles.js';
import { victim } from '../victim.js';

/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName } from '../places.js' */

/** @type {readonly PageName[]} */
const files = ['lockfile'];

/** @param {Scene} scene */
function directoryOf({ place }) {
  if (place.lockDirectory === undefined) throw new Error('This nemesis is for lock files.');
  return place.lockDirectory;
}

/** @param {readonly string[]} args */
function mount(...args) {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr}`);
}

export const disks = /** @satisfies {Record<string, Nemesis>} */ ({
  'disk-full': {
    title: 'the disk is full',
    on: files,
    missing: diskMissing,
    async strike(scene) {
      const filler = join(dirname(directoryOf(scene)), 'filler');
      // Until there is no byte left.
      for (const size of [65_536, 4_096, 1]) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
        } catch (error) {
          if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOSPC') throw error;
        }
      }
      await sleep(scene.job.leaseMs * 2);
      rmSync(filler);
    },
  },
  'inodes-gone': {
    title: 'the disk takes no further file',
    on: files,
    missing: diskMissing,
    async strike(scene) {
      const fillers = join(dirname(directoryOf(scene)), 'fillers');
      mkdirSync(fillers);
      try {
        for (let count = 0; ; count += 1) writeFileSync(join(fillers, String(count)), '');
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOSPC') throw error;
      }
      await sleep(scene.job.leaseMs * 2);
      rmSync(fillers, { recursive: true });
    },
  },
  'slow-flush': {
    title: 'each flush of the disk takes up to a sixth of a lease',
    on: files,
    missing: slowDiskMissing,
    async strike({ place, job, random }) {
      place.flushes?.set(random.between(Math.round(job.leaseMs / 40), Math.round(job.leaseMs / 6)));
      await sleep(job.leaseMs * 3);
      place.flushes?.set(0);
    },
  },
  'stop-in-flush': {
    title: 'replicas are stopped while their flushes take long',
    on: files,
    missing: slowDiskMissing,
    async strike({ place, fleet, job, random }) {
      place.flushes?.set(Math.round(job.leaseMs / 20));
      for (let count = 0; count < 6; count += 1) {
        const member = victim({ fleet, random });
        member.signal('SIGSTOP');
        await sleep(random.between(Math.round(0.3 * job.leaseMs), job.leaseMs));
        member.signal('SIGCONT');
        await sleep(random.between(0, Math.round(0.3 * job.leaseMs)));
      }
      place.flushes?.set(0);
    },
  },
  'disk-read-only': {
    title: 'the disk is read-only for a while',
    on: files,
    missing: diskMissing,
    async strike(scene) {
      const disk = dirname(directoryOf(scene));
      // Files that are open for writing stand in the way of a remount: a bind mount of it does not ask.
      mount('--bind', disk, disk);
      mount('-o', 'remount,bind,ro', disk);
      await sleep(scene.job.leaseMs * 2);
      spawnSync('umount', ['-l', disk]);
    },
  },
  'directory-exchanged': {
    title: 'the lock directory is moved away for a while',
    on: files,
    async strike(scene) {
      const directory = directoryOf(scene);
      renameSync(directory, `${directory}.away`);
      await sleep(scene.random.between(50, scene.job.leaseMs));
      rmSync(directory, { recursive: true, force: true });
      renameSync(`${directory}.away`, directory);
    },
    // Each command opens the directory anew, or makes one.
    excluded: excludes('Anything about programs that start while the lock directory is away', {
      kinds: ['overlap', 'duplicate', 'out of order', 'fence order', 'told too late'],
      unless: ({ workload }) => workload !== 'commands',
    }),
  },
  'directory-emptied': {
    title: 'the lock directory is emptied, as cleaners of temporary files do it',
    on: files,
    async strike(scene) {
      const directory = directoryOf(scene);
      // Directories stay: replicas create files in them meanwhile, and rmdir would fail.
      for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
        const file = join(directory, name);
        if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(file, { force: true });
      }
    },
    // Holders are told at their next renewal.
    excluded: excludes('Anything after the lock directory, or one of its sub-directories, was emptied', {
      kinds: ['overlap', 'duplicate', 'out of order', 'fence order', 'told too late'],
      leases: 0.4,
    }),
  },
});
