import { attachWorker, singletonProcessor } from '@solorun/bullmq';
import { createSolo } from '@solorun/core';
import { postgresAdvisory } from '@solorun/postgres';
import { createPostgresBackend, Worker } from 'bullmq';

const connectionString = process.env['DATABASE_URL'] ?? '';
const solo = createSolo({ provider: postgresAdvisory({ connectionString }) });

const worker = new Worker(
  'etl',
  singletonProcessor(solo, { name: 'etl' }, () => 'done'),
  { connection: { connectionString, migrate: true } },
  createPostgresBackend,
);
attachWorker(worker);

await worker.waitUntilReady();
await worker.close();
await solo.close();
