// @ts-check
// Where the steps are queued and where their locks are kept: on one server, a Postgres or a Redis.

import { postgresAdvisory } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { createPostgresBackend } from 'bullmq';

export const QUEUE = 'etl';

/**
 * What queues, workers and flows are made with after their names: the options for the connection, and BullMQ's backend. And the
 * provider for the locks.
 *
 * @param {string | undefined} url `postgres://…` or `redis://…`
 */
export function serverAt(url = '') {
  if (/^postgres(?:ql)?:/.test(url)) {
    return {
      connection: { connectionString: url, migrate: true, max: 4 },
      // BullMQ has a type for each backend, and which one it is shows only when the program runs.
      backend: /** @type {undefined} */ (/** @type {unknown} */ (createPostgresBackend)),
      provider: () => postgresAdvisory({ connectionString: url }),
    };
  }
  if (!/^rediss?:/.test(url)) throw new Error('QUEUE_URL is to be postgres://… or redis://…');
  return { connection: { url, maxRetriesPerRequest: null }, backend: undefined, provider: () => redis({ url }) };
}
