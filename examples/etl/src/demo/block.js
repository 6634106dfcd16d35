// @ts-check
// Preloaded into each worker: SIGUSR2 blocks its event loop, as an endless loop or a huge JSON would, until the file BLOCKED is gone.

import { existsSync, writeFileSync } from 'node:fs';

const file = process.env['BLOCKED'] ?? '';
process.on('SIGUSR2', () => {
  writeFileSync(file, '');
  while (existsSync(file)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
});
