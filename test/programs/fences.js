// @ts-check
// Acquires one lock again and again, and appends each fence to a file under the lock: `times` times, or until SIGTERM. What ends a
// wait or a run because the server went away is no reason to stop.
import { openSync, writeSync } from 'node:fs';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { ClosedError, createSolo, LeaseLostError, ProviderError } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', file = '', times = '', leaseMs = '10000'] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: Number(leaseMs) });
const log = openSync(file, 'a');
process.once('SIGTERM', () => void solo.close());

let done = 0;
let failures = 0;
say({ ready: true });
while (done < Number(times)) {
  try {
    const { status } = await solo.run(
      'fences',
      async ({ fence, checkpoint }) => {
        // The end of a session is heard of in a turn of the event loop.
        await setImmediate();
        checkpoint();
        writeSync(log, `${fence}\n`);
        done += 1;
      },
      { onBusy: 'wait', waitMs: 60_000 },
    );
    if (status === 'skipped') break;
  } catch (error) {
    if (error instanceof ClosedError) break;
    if (!(error instanceof LeaseLostError || error instanceof ProviderError)) throw error;
    failures += 1;
    await sleep(20);
  }
}
say({ done, failures });
await solo.close();
