// @ts-check
import { writeSync } from 'node:fs';

/**
 * Says one line to the test, at once: also when the process is killed a moment later.
 * @param {Record<string, unknown>} line
 */
export function say(line) {
  writeSync(1, `${JSON.stringify({ at: now(), ...line })}\n`);
}

/** The monotonic clock of this machine, in ms: the same for every process. */
export function now() {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
