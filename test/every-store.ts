import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { killAll } from './json-process.ts';
import { hasPostgres, kinds, nameOf } from './postgres.ts';

const missing = redisMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: what is true on every store, on Redis. ${missing}\n`);

/**
 * Describes what is true on every store. Each has one of its own, as programs/store.js reads it.
 *
 * @param options.concurrent all at once, for tests that mostly wait. Such a test takes its `expect` from its context
 */
export function onEveryStore(suite: (store: () => string) => void, options: { readonly concurrent?: boolean } = {}): void {
  // What a test has left running; with several at once the last one is to go first.
  if (options.concurrent === true) afterAll(killAll);
  else afterEach(killAll);

  describe('on a lock directory', options, () => {
    let directory: string;
    beforeAll(() => {
      directory = mkdtempSync(join(realpathSync(tmpdir()), 'solorun-life-'));
    });
    afterAll(() => rmSync(directory, { recursive: true }));
    suite(() => pathToFileURL(directory).href);
  });

  describe.runIf(hasPostgres)('on Postgres', options, () => {
    let server: Postgres;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server?.stop());
    for (const kind of kinds) {
      describe(`with ${nameOf[kind]}`, options, () => {
        suite(() => server.url.replace(/^postgresql:/, kind === 'advisory' ? 'postgres:' : 'postgres+lease:'));
      });
    }
  });

  describe.runIf(missing === undefined || process.env['CI'] === 'true')('on Redis', options, () => {
    let server: Redis;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(() => server?.stop());
    suite(() => `${server.url}?settleMs=0`);
  });
}
