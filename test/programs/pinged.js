// @ts-check
// A replica of a job that has one scheduled time, with a monitor; says how it ended. Held up until a line comes.
import { once } from 'node:events';
import { createSolo, pingUrl } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', name = '', url = '', at = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: 2_000 });
const { status } = await solo.run(
  name,
  async () => {
    say({ running: true });
    await once(process.stdin, 'data');
  },
  { occurrence: new Date(Number(at)), attempts: 2, onBusy: 'standby', onRun: pingUrl(url) },
);
say({ status });
process.stdin.unref();
await solo.close();
