import cron from 'node-cron';
import { soloCoordinator } from '@solorun/node-cron';
import { solo } from './solo.ts';

cron.setRunCoordinator(soloCoordinator(solo));

const file = new URL('nightly-backup.js', import.meta.url).href;
cron.schedule('0 3 * * *', file, { name: 'nightly-backup', distributed: true });
