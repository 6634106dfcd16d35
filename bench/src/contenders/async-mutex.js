// @ts-check

import { Mutex } from 'async-mutex';

/** @import { Contender } from '../interleaved.js' */

/** @returns {Contender} */
export function asyncMutex() {
  const mutex = new Mutex();
  return {
    ...{ id: 'async-mutex', name: 'async-mutex, `runExclusive`', role: 'peer' },
    cycle: () => mutex.runExclusive(() => {}),
  };
}
