// @ts-check
// One replica whose clock is `lateMs` behind, with a short job each second.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', lateMs = '', onBusy = 'skip', jobMs = '20'] = process.argv.slice(2);
const late = Number(lateMs);
globalThis.Date = new Proxy(Date, {
  construct: (Real, given) => (given.length === 0 ? new Real(Real.now() - late) : Reflect.construct(Real, given)),
  get: (Real, key) => (key === 'now' ? () => Real.now() - late : Reflect.get(Real, key)),
});
// Loaded after the clock was set back.
const { schedule } = await import('@solorun/node-cron');

const solo = createSolo({ provider: await openStore(store) });
const task = schedule(
  solo,
  '* * * * * *',
  async ({ occurrence, fence }) => {
    // By the clock of the disk or the server, which no library fakes.
    const acquiredAt = (await solo.inspect('tick'))?.acquiredAt.toISOString();
    say({ ran: occurrence?.at.toISOString(), fence: String(fence), acquiredAt });
    await sleep(Number(jobMs));
  },
  { name: 'tick', onBusy: /** @type {'skip' | 'standby'} */ (onBusy) },
);
solo.on('skipped', ({ reason, at }) => say({ skipped: reason, slot: at?.toISOString() }));
say({ ready: true });
await once(process, 'SIGTERM');
await task.destroy();
await solo.close();
