import { createSolo } from '@solorun/core';
import { redis } from '@solorun/redis';
import { Redis } from 'ioredis';

const client = new Redis(process.env['REDIS_URL'] ?? '', { keyPrefix: 'app:' });

// With its options, sentinels, TLS and prefix included, on connections of our own.
const solo = createSolo({ provider: redis({ client }) });

await solo.close();
client.disconnect();
