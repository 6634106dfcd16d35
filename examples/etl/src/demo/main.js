#!/usr/bin/env node
// @ts-check
// Plays the example: three workers, what befalls them, and the count at the end.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { show } from '@solorun/example-postgres/demo/show';
import { postgresMissing } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { play } from './play.js';

const HELP = `Runs the five steps of three days on three workers, which are blocked and killed meanwhile.

Usage: npm run etl -w @solorun/example-etl [-- options]

  --redis      queue and locks on a Redis that is started for this; otherwise on the Postgres that is loaded into
  -h, --help   this text

With DATABASE_URL=postgres://… a database is made on that server, and dropped at the end; otherwise a Postgres is started.

Exit status: 0 if the effect of each step happened once; 1 if not; 64 for a wrong option; 69 if there is no server.
`;

const { redis } = readOptions();
const url = process.env['DATABASE_URL'];
const missing = (url === undefined ? postgresMissing() : undefined) ?? (redis ? redisMissing() : undefined);
if (missing !== undefined) {
  console.error(missing);
  process.exit(69);
}

const directory = mkdtempSync(join(tmpdir(), 'solorun-etl-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }));
await show(url, async (stage) => {
  const server = redis ? await startRedis() : undefined;
  try {
    return await play(stage, { directory, queueUrl: server?.url ?? stage.url });
  } finally {
    await server?.stop();
  }
});

function readOptions() {
  try {
    const { values } = parseArgs({
      options: { redis: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
    });
    if (values.help) {
      process.stdout.write(HELP);
      process.exit(0);
    }
    return { redis: values.redis };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return process.exit(64);
  }
}
