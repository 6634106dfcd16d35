// @ts-check

import { memory as memoryProvider } from '@solorun/core/memory';
import { asyncMutex } from '../contenders/async-mutex.js';
import { soloRun } from '../contenders/solo.js';
import { oneByOne } from '../interleaved.js';
import { pinTogether } from '../pin.js';
import { withAll } from '../stage.js';

/** @import { Row } from '../rows.js' */
/** @import { Contender } from '../interleaved.js' */

/** @type {Row} */
export const memory = {
  name: 'memory',
  title: 'In one process',
  run: ({ segments, turns, memoryCycles }) =>
    withAll(
      [
        soloRun({ id: 'ours', name: '`run()` on `memory`' }, memoryProvider()),
        soloRun({ id: 'signal', name: '`run()` on `memory`, a handler that reads its `signal`' }, memoryProvider(), ({ signal }) =>
          signal.throwIfAborted(),
        ),
        asyncMutex(),
      ],
      async (/** @type {Contender[]} */ contenders) => {
        pinTogether();
        return {
          ...{ heading: 'p50', unit: 'µs', floor: 'async-mutex' },
          how: `Run a handler that does nothing, ${memoryCycles} times at a stretch. The peer is the floor here. On one processor.`,
          lines: await oneByOne(contenders, { segments, turns, cycles: 1, together: memoryCycles }),
        };
      },
    ),
};
