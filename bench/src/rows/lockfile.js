// @ts-check

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { lockfile as lockfileProvider } from '@solorun/lockfile';
import { exclusiveFile, properLockfile } from '../contenders/files.js';
import { soloRun } from '../contenders/solo.js';
import { oneByOne } from '../interleaved.js';
import { pinTogether } from '../pin.js';
import { withAll, withDirectory } from '../stage.js';

/** @import { Row } from '../rows.js' */
/** @import { Contender } from '../interleaved.js' */

/** @type {Row} */
export const lockfile = {
  name: 'lockfile',
  title: 'Lock files, one after the other',
  run: ({ segments, turns }) =>
    withDirectory((directory) => {
      const [raw, proper] = ['raw', 'proper'].map((name) => join(directory, name));
      for (const each of [raw, proper]) mkdirSync(each ?? '');
      return withAll(
        [
          soloRun({ id: 'ours', name: '`run()` on `lockfile`' }, lockfileProvider({ directory: join(directory, 'ours') })),
          exclusiveFile(raw ?? ''),
          properLockfile(proper ?? ''),
        ],
        async (/** @type {Contender[]} */ contenders) => {
          pinTogether();
          return {
            ...{ heading: 'p50', unit: 'µs', floor: 'raw' },
            how: 'Lock, run a handler that does nothing, unlock, each in a directory of its own. On one processor.',
            lines: await oneByOne(contenders, { segments, turns: turns * 2 }),
          };
        },
      );
    }),
};
