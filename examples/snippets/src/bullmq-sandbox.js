// @ts-check
import { singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { redis } from '@solorun/redis';

const solo = createSolo({ provider: redis({ url: process.env['REDIS_URL'] }), label: 'sandbox' });

// oxlint-disable-next-line import/no-default-export
export default singletonProcessor(solo, { name: 'thumbnails' }, async (job, token, signal) => {
  signal.throwIfAborted();
  return `made in process ${process.pid}`;
});
