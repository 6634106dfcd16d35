import { createSolo } from '@solorun/core';
import { schedule } from '@solorun/node-cron';
import { postgresAdvisory } from '@solorun/postgres';

const solo = createSolo({ provider: postgresAdvisory({ connectionString: process.env['DATABASE_URL'] }) });

// Run this program as often as you like: each night one of the copies makes the backup.
schedule(
  solo,
  '0 3 * * *',
  async ({ date, signal }) => {
    await makeBackup(signal);
    console.log(`the backup of ${date.toISOString()}`); // date is 03:00, whenever it really runs
  },
  { name: 'nightly-backup', onBusy: 'standby', attempts: 2 },
);

async function makeBackup(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
}
