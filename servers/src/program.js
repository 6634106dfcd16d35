// @ts-check
// What programs have in common that start servers and are called with options.

import { constants } from 'node:os';

/** Arguments that make no sense: shown with the help, and exit status 64. */
export class BadArguments extends Error {}

export const print = (/** @type {string} */ text) => void process.stdout.write(`${text}\n`);
export const tell = (/** @type {string} */ text) => void process.stderr.write(`${text}\n`);

/**
 * Runs a program to the end of its process, and of all that it started.
 *
 * @param {() => Promise<unknown>} main It may set `process.exitCode`.
 * @param {string} help
 * @returns {Promise<never>}
 */
export async function runProgram(main, help) {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    // Servers, processes and directories end with this process.
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
  try {
    await main();
  } catch (error) {
    tell(error instanceof BadArguments ? `${error.message}\n\n${help}` : String(error instanceof Error ? error.stack : error));
    process.exitCode = error instanceof BadArguments ? 64 : 1;
  }
  // Node 20 may spin for ever in its own cleaning up when sockets were reset (net.Socket.resetAndDestroy, as proxies do it). This skips it.
  process.exit();
}
