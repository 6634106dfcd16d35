// @ts-check

import { parseArgs } from 'node:util';
import { BadArguments } from '@solorun/servers/program';
import { rows } from './rows.js';

const width = Math.max(...rows.map(({ name }) => name.length));

export const HELP = `Measures what a lock costs, beside the least that it could cost and beside other packages.

Usage: npm run bench -- [options]

  --rows NAME,…   only these (see below); prints, and writes no file
  --scale         something else: how hand-off and load grow with replicas and with names; writes bench/scale.md and bench/plots
  --short         a little of everything, in less than a minute, to see that it works: the figures mean nothing, no file is written
  --json          prints what was measured as JSON, and writes no file
  --headline      measures nothing: copies the headline table of bench/results.md into README.md, between its markers
  -h, --help      this text

Rows:
${rows.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`).join('\n')}

Without options all rows are measured, which takes some minutes, and bench/results.md is written. Leave the machine alone meanwhile.
How to read it: all contenders of a table took turns in one run, so their ratios hold, and the times belong to the machine. The
servers are started for this on a disk (in TMPDIR), and gone afterwards. On Linux, processes are pinned to processors (taskset).
`;

/** @param {string[]} args */
export function readArguments(args) {
  const { values } = parse(args);
  if (values.scale && values.rows !== undefined) throw new BadArguments('--scale has no rows: leave --rows out.');
  const names = rows.map(({ name }) => name);
  const wanted = values.rows?.split(',').map((name) => name.trim());
  const unknown = wanted?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) throw new BadArguments(`--rows: there is no ${unknown.map((name) => JSON.stringify(name)).join(', ')}.`);
  return { ...values, rows: wanted ?? names };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      options: {
        rows: { type: 'string' },
        scale: { type: 'boolean', default: false },
        short: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        headline: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new BadArguments(error instanceof Error ? error.message : String(error));
  }
}
