// @ts-check

import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { lock as lockProperly } from 'proper-lockfile';

/** @import { Contender } from '../interleaved.js' */

/**
 * The floor: a file that is there or not, with a word about its owner, on the calling thread.
 *
 * @param {string} directory
 * @returns {Contender}
 */
export function exclusiveFile(directory) {
  const owner = JSON.stringify({ host: 'localhost', pid: process.pid });
  return {
    ...{ id: 'raw', name: "open(…, 'wx'), write, close and unlink, synchronously", role: 'floor' },
    cycle(lock) {
      const path = join(directory, `raw-${lock}.lock`);
      const file = openSync(path, 'wx');
      writeSync(file, owner);
      closeSync(file);
      unlinkSync(path);
    },
  };
}

/**
 * @param {string} directory
 * @returns {Contender}
 */
export function properLockfile(directory) {
  return {
    ...{ id: 'proper-lockfile', name: 'proper-lockfile', role: 'peer' },
    async cycle(lock) {
      const release = await lockProperly(join(directory, `proper-${lock}`), { realpath: false });
      await release();
    },
  };
}
