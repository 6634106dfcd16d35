import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { killAll } from './json-process.ts';
import { hasPostgres, kinds, nameOf, onPostgres } from './postgres.ts';

const missing = redisMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: what is true on every store, on Redis. ${missing}\n`);

/** Describes what is true on every store. Each has one of its own, as programs/store.js reads it. */
export function onEveryStore(suite: (store: () => string) => void): void {
  describe('on a lock directory', () => {
    let directory: string;
    beforeAll(() => {
      directory = mkdtempSync(join(realpathSync(tmpdir()), 'solorun-life-'));
    });
    afterEach(killAll);
    afterAll(() => rmSync(directory, { recursive: true }));
    suite(() => pathToFileURL(directory).href);
  });

  describe.runIf(hasPostgres)('on Postgres', () => {
    const stage = onPostgres();
    for (const kind of kinds) describe(nameOf[kind], () => suite(() => stage.store(kind)));
  });

  describe.runIf(missing === undefined || process.env['CI'] === 'true')('on Redis', () => {
    let server: Redis;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterEach(killAll);
    afterAll(() => server?.stop());
    suite(() => `${server.url}?settleMs=0`);
  });
}
