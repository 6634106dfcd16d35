// @ts-check
// What tests start must end with them, however they end: when this process exits it cleans up itself, and when it is killed a process
// beside it does (warden.js), which learns of it by the end of its standard input.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { undo } from './undo.js';

/** @import { Leftover } from './undo.js' */

/** @type {Map<number, Leftover>} */
const guarded = new Map();
/** @type {import('node:child_process').ChildProcessByStdio<import('node:stream').Writable, null, null> | undefined} */
let warden;
let last = 0;

/**
 * Sees that something is undone when this process ends. Call it before the thing is there, and the returned function when it is gone.
 *
 * @param {Leftover} leftover
 * @returns {() => void}
 */
export function guard(leftover) {
  warden ??= startWarden();
  const { stdin } = warden;
  const id = ++last;
  guarded.set(id, leftover);
  stdin.write(`${JSON.stringify({ id, leftover })}\n`);
  return () => {
    if (guarded.delete(id)) stdin.write(`${JSON.stringify({ id })}\n`);
  };
}

function startWarden() {
  // In a session of its own: Ctrl-C is not for it.
  const child = spawn(process.execPath, [fileURLToPath(new URL('warden.js', import.meta.url))], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  child.unref();
  /** @type {import('node:net').Socket} */ (child.stdin).unref();
  // Should it be killed, there is still the handler below.
  child.stdin.on('error', () => {});
  process.on('exit', () => {
    // A mount goes before the directory that it is in.
    for (const leftover of [...guarded.values()].toReversed()) undo(leftover);
  });
  return child;
}
