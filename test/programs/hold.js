// @ts-check
// Holds a lock until it is told to release it on stdin, or killed.
import { createInterface } from 'node:readline';
import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { say } from './say.js';

const [directory = '', name = '', leaseMs = '', crashDetection = 'kernel', title = ''] = process.argv.slice(2);
if (title !== '') process.title = title;

const provider = lockfile({ directory, crashDetection: /** @type {'kernel'} */ (crashDetection) });
const solo = createSolo({ provider, leaseMs: leaseMs === 'null' ? null : Number(leaseMs) });

const lease = await solo.acquire(name, { waitMs: 60_000 });
lease.signal.addEventListener('abort', () => say({ lost: lease.signal.reason.reason }));
say({ held: String(lease.fence) });
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'release') continue;
  say({ released: await lease.release() });
  break;
}
await solo.close();
process.stdin.destroy();
