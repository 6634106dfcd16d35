import type { LockProvider } from '@solorun/core';
import { providerContract } from '@solorun/core/testing';
import { installedVersions, startPostgres } from '@solorun/servers/postgres';
import type pg from 'pg';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { missingHere, openPool } from './server.ts';

/** Another server instead of the ones that the tests bring along. */
const elsewhere = process.env['SOLORUN_TEST_POSTGRES_URL'];
const missing = elsewhere === undefined ? missingHere() : undefined;
const versions =
  elsewhere === undefined ? [...new Set([...installedVersions(), 14, 16, 18])].map(String) : ['of SOLORUN_TEST_POSTGRES_URL'];

describe.runIf(missing === undefined).each(versions)('on Postgres %s', (version) => {
  let url: string;
  let pool: pg.Pool;
  let stop = async (): Promise<void> => {};
  beforeAll(async () => {
    if (elsewhere === undefined) {
      const server = await startPostgres({ version: Number(version) });
      url = server.url;
      stop = () => server.stop();
    } else {
      url = elsewhere;
    }
    pool = openPool({ connectionString: url });
  });
  afterAll(async () => {
    await pool.end();
    await stop();
  });

  const providers: Record<string, () => LockProvider> = {
    postgresAdvisory: () => postgresAdvisory({ connectionString: url, onWarning: () => {} }),
    'postgresLease with a connection of its own': () => postgresLease({ connectionString: url }),
    'postgresLease with a pool': () => postgresLease({ pool }),
  };

  describe.concurrent.each(Object.keys(providers))('%s', (kind) => {
    for (const { name, guarantee, run } of providerContract({ open: providers[kind]!, leaseMs: 600 })) {
      it(`${guarantee}: ${name}`, async ({ expect }) => {
        await expect(run()).resolves.toBeUndefined();
      });
    }
  });
});
