import { createSolo, intervalOccurrence } from '@solorun/core';
import { memory } from '@solorun/core/memory';

const solo = createSolo({ provider: memory() });
const report = async (): Promise<void> => {};

// Another replica holds the lock? Then not here.
await solo.run('report', report);

// Try again five times, with growing random pauses, then leave it.
await solo.run('report', report, { onBusy: 'retry', retry: { retries: 5, minMs: 100, maxMs: 5_000 } });

// Wait in the queue, and name the holder when it takes too long.
await solo.run('report', report, { onBusy: 'wait', waitMs: 60_000 });

// Of the whole fleet, one runs this minute's report; if it crashes, another one takes over.
const minute = intervalOccurrence(60_000);
await solo.run('report', report, { occurrence: minute(), attempts: 2, onBusy: 'standby' });
