// @ts-check
// Holds a lock until it is told to release it on stdin, or killed. Says what happens, a JSON line each.
import { createInterface } from 'node:readline';
import { createSolo } from '@solorun/core';
import { lockfile } from '../../dist/index.js';

const [directory = '', name = '', leaseMs = '', crashDetection = 'kernel', title = ''] = process.argv.slice(2);
if (title !== '') process.title = title;

const provider = lockfile({ directory, crashDetection: /** @type {'kernel'} */ (crashDetection) });
const solo = createSolo({ provider, leaseMs: leaseMs === 'null' ? null : Number(leaseMs) });
const say = (/** @type {object} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const lease = await solo.acquire(name, { waitMs: 60_000 });
say({ held: String(lease.fence), pid: process.pid });
lease.signal.addEventListener('abort', () => say({ lost: lease.signal.reason.reason }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'release') continue;
  say({ released: await lease.release() });
  break;
}
await solo.close();
process.stdin.destroy();
