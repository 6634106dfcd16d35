// @ts-check
// Finds no server, says goodbye, and tells what keeps it alive all the same.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { redis } from '../../dist/index.js';

const [url = ''] = process.argv.slice(2);
const solo = createSolo({ provider: redis({ url }) });
let said = 'it ran';
try {
  await solo.run('nowhere', () => {});
} catch (error) {
  said = String(error instanceof Error && error.message);
}
await solo.close();
// Timers that are ending anyway do so; the one that this is about lasted for 2 s.
await sleep(100);
const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout');
process.stdout.write(JSON.stringify({ error: said, timers }));
