import { schedule } from '@solorun/node-cron';
import { backUp, solo } from './solo.ts';

schedule(
  solo,
  '0 3 * * *',
  async (tick) => {
    const archive = await backUp(tick.date, tick.signal); // date: 03:00, whenever it really runs
    tick.checkpoint(); // throws if the lock was lost meanwhile
    return { archive, fence: tick.fence, attempt: tick.attempt };
  },
  { name: 'nightly-backup', timezone: 'Europe/Berlin', onBusy: 'standby', attempts: 2 },
);
