import { solo } from './solo.ts';

await solo.pause('backup', { untilMs: 2 * 3_600_000, note: 'disk is replaced' });
await solo.resume('backup');
