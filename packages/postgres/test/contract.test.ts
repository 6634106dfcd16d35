import type { LockProvider } from '@solorun/core';
import { providerContract } from '@solorun/core/testing';
import { installedVersions, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { afterAll, beforeAll, describe, it } from 'vitest';
import pg from 'pg';
import { postgresAdvisory, postgresLease } from '../src/index.ts';

describe.each(installedVersions().filter((version) => version >= 14))('on Postgres %i', (version) => {
  let server: Postgres;
  let pool: pg.Pool;
  beforeAll(async () => {
    server = await startPostgres({ version });
    pool = new pg.Pool({ connectionString: server.url });
    pool.on('error', () => {});
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const providers: Record<string, () => LockProvider> = {
    postgresAdvisory: () => postgresAdvisory({ connectionString: server.url }),
    'postgresLease with a connection of its own': () => postgresLease({ connectionString: server.url }),
    'postgresLease with a pool': () => postgresLease({ pool }),
  };

  describe.each(Object.keys(providers))('%s', (kind) => {
    for (const { name, guarantee, run } of providerContract({ open: providers[kind]!, leaseMs: 600 })) {
      it(`${guarantee}: ${name}`, async ({ expect }) => {
        await expect(run()).resolves.toBeUndefined();
      });
    }
  });
});
