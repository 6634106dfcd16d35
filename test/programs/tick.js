// @ts-check
// One replica whose clock is `lateMs` behind, with a job of 20 ms each second.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { say } from './say.js';

const [directory = '', lateMs = '', onBusy = 'skip'] = process.argv.slice(2);
const late = Number(lateMs);
globalThis.Date = new Proxy(Date, {
  construct: (Real, given) => (given.length === 0 ? new Real(Real.now() - late) : Reflect.construct(Real, given)),
  get: (Real, key) => (key === 'now' ? () => Real.now() - late : Reflect.get(Real, key)),
});
// Loaded after the clock was set back.
const { schedule } = await import('@solorun/node-cron');

const solo = createSolo({ provider: lockfile({ directory }) });
const task = schedule(
  solo,
  '* * * * * *',
  async ({ occurrence, fence }) => {
    // By the clock of the disk, which no library fakes.
    const acquiredAt = (await solo.inspect('tick'))?.acquiredAt.toISOString();
    say({ ran: occurrence?.at.toISOString(), fence: String(fence), acquiredAt });
    await sleep(20);
  },
  { name: 'tick', onBusy: /** @type {'skip' | 'standby'} */ (onBusy) },
);
solo.on('skipped', ({ reason, at }) => say({ skipped: reason, slot: at?.toISOString() }));
say({ ready: true });
await once(process, 'SIGTERM');
await task.destroy();
await solo.close();
