#!/usr/bin/env node
// @ts-check
// What a lock costs, beside the least that it could cost and beside other packages.

import { fileURLToPath } from 'node:url';
import { postgresMissing } from '@solorun/servers/postgres';
import { print, runProgram, tell } from '@solorun/servers/program';
import { HELP, readArguments } from './arguments.js';
import { full, short } from './effort.js';
import { copyHeadline, RESULTS } from './headline.js';
import { describeMachine } from './machine.js';
import { writeResults } from './results.js';
import { rows } from './rows.js';
import { measureScale, narrow, wide } from './scale/measure.js';
import { PAGE, pictures, tableOf, writeScale } from './scale/page.js';
import { figuresOf, forTerminal, goalsOf } from './table.js';

/** @import { Group } from './result.js' */

await runProgram(main, HELP);

async function main() {
  const settings = readArguments(process.argv.slice(2));
  if (settings.help) return print(HELP);
  if (settings.headline) return tellHeadline();
  const missing = postgresMissing();
  if (missing !== undefined) throw new Error(missing);
  for (const line of Object.values(describeMachine()).flat()) tell(line);

  if (settings.scale) return scale(settings);

  /** @type {Group[]} */
  const groups = [];
  for (const row of rows.filter(({ name }) => settings.rows.includes(name))) {
    tell(`\n${row.title} (${row.name}) …`);
    const group = { row: row.name, title: row.title, ...(await row.run(settings.short ? short : full)) };
    groups.push(group);
    if (!settings.json) print(`\n${group.title}\n${group.how}\n\n${forTerminal(figuresOf(group))}`);
  }
  if (settings.json) return print(JSON.stringify(groups));
  print(`\n${forTerminal(goalsOf(groups))}`);
  if (settings.short) return tell('\nThis was the short form: the figures mean nothing.');
  if (groups.length < rows.length) return;
  writeResults(groups);
  tell(`\nWritten to ${fileURLToPath(RESULTS)}`);
  tellHeadline();
}

/** @param {{ short: boolean, json: boolean }} settings */
async function scale({ short: tiny, json }) {
  const measured = await measureScale(tiny ? narrow : wide, tell);
  if (json) return print(JSON.stringify({ ...measured, pictures: pictures(measured) }));
  print(`\n${forTerminal(tableOf('replicas', measured.replicas))}\n\n${forTerminal(tableOf('names', measured.names))}`);
  if (tiny) return tell('\nThis was the short form: the figures mean nothing.');
  writeScale(measured);
  tell(`\nWritten to ${fileURLToPath(PAGE)}`);
}

function tellHeadline() {
  tell(
    copyHeadline() ? 'The headline stands in README.md.' : 'README.md has no markers for the headline (<!-- bench:headline -->).',
  );
}
