#!/usr/bin/env node
// @ts-check
// Plays one of the examples: its processes, what befalls them, and the count at the end.
// With DATABASE_URL on that server, in a database of its own; without, on a Postgres that is started for it.

import { postgresMissing } from '@solorun/servers/postgres';
import { play as backup } from './backup.js';
import { play as clock } from './clock.js';
import { play as migrate } from './migrate.js';
import { show } from './show.js';
import { play as upload } from './upload.js';

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

await show(url, play);
