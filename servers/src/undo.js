// @ts-check

import { spawnSync } from 'node:child_process';
import { removeNow } from './processes.js';

/**
 * Something to be undone: a directory with all processes that work in it, or what a command removes.
 *
 * @typedef {{ readonly directory: string } | { readonly command: readonly [string, ...string[]] }} Leftover
 */

/** @param {Leftover} leftover */
export function undo(leftover) {
  if ('directory' in leftover) return removeNow(leftover.directory);
  const [file, ...args] = leftover.command;
  spawnSync(file, args, { stdio: 'ignore' });
}
