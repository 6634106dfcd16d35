// @ts-check
// A contender in a process of its own, with compiled code and garbage of its own, as in a program that uses nothing else. Packages that
// share a client in one process keep each other's code from being compiled for the one way in which each of them uses it.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** @import { Identity } from './result.js' */
/** @import { Slice, Sliced } from './interleaved.js' */

const PROGRAM = fileURLToPath(new URL('programs/alone.js', import.meta.url));
/** How rows of such contenders work. */
export const ALONE =
  'As before, by 64 loops with a name each, on one connection or pool. Each contender has a process of its own, and they take turns. ' +
  'The server on one processor, the client on another.';

/**
 * @param {string} file in contenders/
 * @param {string} opener what it exports that opens the contender
 * @param {...unknown} args
 * @returns {Promise<Sliced>}
 */
export async function alone(file, opener, ...args) {
  const child = fork(PROGRAM, [file, opener, JSON.stringify(args)]);
  const exited = once(child, 'exit');
  const failed = exited.then(([status]) => {
    throw new Error(`${opener}: its process ended with status ${status}`);
  });
  // Told to whoever asks next.
  failed.catch(() => {});
  const answer = () => Promise.race([once(child, 'message').then(([message]) => message), failed]);
  const identity = /** @type {Identity} */ (await answer());
  return {
    ...identity,
    slice(amount) {
      child.send(amount);
      return /** @type {Promise<Slice>} */ (answer());
    },
    async close() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
