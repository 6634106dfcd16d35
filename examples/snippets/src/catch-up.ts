import { schedule } from '@solorun/node-cron';
import { solo } from './solo.ts';

async function backup(): Promise<void> {}

schedule(solo, '0 3 * * *', backup, { name: 'caught-up-backup', catchUp: 'latest', catchUpWithinMs: 6 * 3_600_000 });
