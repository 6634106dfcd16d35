import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';

const provider = memory();
const holder = createSolo({ provider });
await holder.acquire('daily-report', { waitMs: 0 });

const solo = createSolo({ provider });

const record = await solo.inspect('daily-report');
if (record?.held) await solo.forceRelease('daily-report', { fence: record.fence });
