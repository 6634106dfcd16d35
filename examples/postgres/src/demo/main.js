#!/usr/bin/env node
// @ts-check
// Plays one of the examples: its processes, what befalls them, and the count at the end.
// With DATABASE_URL on that server, in a database of its own; without, on a Postgres that is started for it.

import { constants } from 'node:os';
import { postgresMissing } from '@solorun/servers/postgres';
import { play as backup } from './backup.js';
import { play as clock } from './clock.js';
import { play as migrate } from './migrate.js';
import { openStage } from './stage.js';
import { play as upload } from './upload.js';
import { report } from './verdict.js';

/** @type {Readonly<Record<string, (stage: import('./stage.js').Stage) => Promise<import('./verdict.js').Count[]>>>} */
const demos = { migrate, clock, upload, backup };

const [name = ''] = process.argv.slice(2);
const play = Object.hasOwn(demos, name) ? demos[name] : undefined;
if (play === undefined) {
  console.error(`Which example? There are ${Object.keys(demos).join(', ')}.`);
  process.exit(64);
}
const url = process.env['DATABASE_URL'];
const missing = url === undefined ? postgresMissing() : undefined;
if (missing !== undefined) {
  console.error(`${missing} Or give a server of yours: DATABASE_URL=postgres://user@host/database`);
  process.exit(69);
}

const startedAt = performance.now();
const stage = await openStage({
  url,
  tell: (text) => console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${text}`),
});
let interrupted = false;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => {
    interrupted = true;
    void stage.close().finally(() => process.exit(128 + constants.signals[signal]));
  });
}
try {
  const counts = await play(stage);
  console.log(`\n${report(counts)}`);
  process.exitCode = counts.every(({ kept }) => kept) ? 0 : 1;
} catch (error) {
  // What it was doing cannot succeed then.
  if (!interrupted) console.error(`\nThe demo did not get to its end: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stage.close();
}
