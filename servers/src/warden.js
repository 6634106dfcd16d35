// @ts-check
// Started by guard.js. Reads what would be left over, a line each, and undoes it once nobody writes any more.

import { createInterface } from 'node:readline';
import { undo } from './undo.js';

/** @type {Map<number, import('./undo.js').Leftover>} */
const guarded = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const { id, leftover } = JSON.parse(line);
  if (leftover === undefined) guarded.delete(id);
  else guarded.set(id, leftover);
}
// As guard.js: a mount goes before the directory that it is in.
for (const leftover of [...guarded.values()].toReversed()) undo(leftover);
