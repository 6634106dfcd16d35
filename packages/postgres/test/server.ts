import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { AcquireRequest, AcquireResult, Grant, LockProvider } from '@solorun/core';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';

export { failureOf, shown, until } from '@solorun/servers/witness';

export interface Stage {
  readonly server: Postgres;
  /** Closed at the end of the test. */
  open(provider: LockProvider): LockProvider;
  /** A superuser's statement, beside the providers. */
  sql(text: string, values?: unknown[]): Promise<Record<string, string | null>[]>;
}

/** One server for the tests of a file. */
export function onPostgres(options: Parameters<typeof startPostgres>[0] = {}): Stage {
  let server: Postgres | undefined;
  const opened: LockProvider[] = [];
  const missing = missingHere(options?.version);
  beforeAll(async () => {
    if (missing === undefined) server = await startPostgres(options);
  });
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((provider) => provider.close()));
  });
  afterAll(() => server?.stop());
  return {
    get server() {
      if (server === undefined) throw new Error('the server is started by beforeAll');
      return server;
    },
    open(provider) {
      opened.push(provider);
      return provider;
    },
    async sql(text, values = []) {
      const client = new pg.Client({ connectionString: server!.url });
      // If the server ends the session in between, the query rejects.
      client.on('error', () => {});
      await client.connect();
      try {
        return (await client.query<Record<string, string | null>>(text, values)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

/** Its connections may still be closing when its `end()` has resolved, and may hear then that the server stops. */
export function openPool(config: pg.PoolConfig): pg.Pool {
  return new pg.Pool(config).on('error', () => {});
}

/** What is missing, said aloud; on CI nothing may be. */
export function missingHere(version?: number): string | undefined {
  const missing = process.env['CI'] === 'true' ? undefined : postgresMissing(version);
  if (missing !== undefined) process.stderr.write(`SKIPPED: tests on a real Postgres. Remedy: ${missing}\n`);
  return missing;
}

export const never: AbortSignal = new AbortController().signal;
setMaxListeners(0, never);

export function asked(name: string, more: Partial<AcquireRequest> = {}): AcquireRequest {
  return { name, owner: randomUUID(), leaseMs: 60_000, holder: { host: 'test.host', pid: 4711, label: 'tester' }, ...more };
}

export async function acquired(provider: LockProvider, name: string, more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const result: AcquireResult = await provider.tryAcquire(asked(name, more), never);
  expect(result).toMatchObject({ acquired: true });
  if (!result.acquired) throw new Error(result.reason);
  return result.grant;
}
