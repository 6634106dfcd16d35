// @ts-check
// Type-checks what is never built (tests, examples, scripts), then runs vitest with the arguments after `npm test --`.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');

process.exitCode =
  (await run(join(modules, 'typescript/bin/tsc'), ['-p', 'tsconfig.test.json'])) ||
  (await run(join(modules, 'vitest/vitest.mjs'), ['run', ...process.argv.slice(2)]));

/**
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<number>} its exit status; 128 + n for a signal, as shells say it
 */
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' });
    // A terminal interrupts both of us: the child decides what follows. Other signals reach only this process.
    const stay = () => {};
    const forward = () => void child.kill('SIGTERM');
    process.on('SIGINT', stay).on('SIGTERM', forward);
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      process.off('SIGINT', stay).off('SIGTERM', forward);
      resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
