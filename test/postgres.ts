import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { afterAll, afterEach, beforeAll } from 'vitest';
import pg from 'pg';
import { killAll } from './json-process.ts';

export { until } from '@solorun/servers/witness';

/** The two ways to hold locks on Postgres. */
export const kinds = ['advisory', 'lease'] as const;
export type Kind = (typeof kinds)[number];
export const nameOf: Record<Kind, string> = { advisory: 'session locks', lease: 'lease rows' };

const missing = postgresMissing();
/** False where it is missing, which has been said then; CI must have it. */
export const hasPostgres = missing === undefined || process.env['CI'] === 'true';
if (missing !== undefined) process.stderr.write(`SKIPPED: processes that share a Postgres. ${missing}\n`);

export interface Stage {
  readonly server: Postgres;
  /** What programs take for their store, as programs/store.js reads it. */
  store(kind: Kind, url?: string): string;
  /** A superuser's statement. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
}

/** One server for the tests of a suite. Programs that a test leaves running end with it. */
export function onPostgres(settings: Readonly<Record<string, string | number>> = {}): Stage {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres({ settings });
  });
  afterEach(killAll);
  afterAll(() => server?.stop());
  return {
    get server() {
      return server;
    },
    store: (kind, url = server.url) => url.replace(/^postgresql:/, kind === 'advisory' ? 'postgres:' : 'postgres+lease:'),
    async sql(text, values = []) {
      const client = new pg.Client({ connectionString: server.url });
      // If the server ends the session in between, the query rejects.
      client.on('error', () => {});
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text, values)).rows;
      } finally {
        await client.end();
      }
    },
  };
}
