// @ts-check
// Runs something, waits for something, holds something, and leaves without a goodbye.
import { createSolo } from '@solorun/core';
import { Cluster } from 'ioredis';
import { redis } from '../../dist/index.js';

const [url = '', kind] = process.argv.slice(2);
const options = kind === 'cluster' ? { client: new Cluster([url], { lazyConnect: true }) } : { url };
const solo = createSolo({ provider: redis({ ...options, settleMs: 0 }) });
const result = await solo.run('once', () => 'value');
if (result.status !== 'ran') throw new Error(result.status);
const lease = await solo.acquire('waited for', { waitMs: 0 });
const waiting = solo.acquire('waited for', { waitMs: 10_000 });
setTimeout(() => void lease.release(), 100);
await waiting;
await solo.acquire('kept', { waitMs: 0 });
