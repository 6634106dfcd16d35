// @ts-check
// The same faults on Solorun and on what people use instead: docs/comparison.md.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { postgresMissing } from '@solorun/servers/postgres';
import { redisMissing } from '@solorun/servers/redis';
import { BadArguments, print, runProgram, tell } from '@solorun/servers/program';
import { scenarios } from './columns.js';
import { compare } from './compare.js';
import { contenders } from './contenders.js';
import { better, forTerminal, PAGE, tableOf, verdictsOf, writeHeadline, writePage } from './page.js';
import { full } from './scenarios.js';

/** @import { ScenarioName } from './compare.js' */
/** @import { ContenderName } from './contenders.js' */

const HELP = `Lets the same faults happen to Solorun and to what people use instead: about four minutes.

Usage: npm run compare -- [options]

  --only NAME,…      ${Object.keys(contenders).join(', ')}. Default: all
  --scenario NAME,…  ${Object.keys(scenarios).join(', ')}. Default: all
  -h, --help         this text

With neither of them it writes docs/comparison.md and its head in README.md. Figures go to stderr, verdicts to stdout.
`;

await runProgram(main, HELP);

async function main() {
  const { help, names, chosen, isWhole } = readArguments(process.argv.slice(2));
  if (help) return print(HELP);
  const missing = postgresMissing() ?? redisMissing();
  if (missing !== undefined) throw new Error(missing);

  const verdicts = verdictsOf(await compare(names, chosen, full, tell), full);
  print(`${forTerminal(tableOf(verdicts))}\n\nWhere another one is better:\n${better(verdicts).join('\n').replaceAll('*', '')}`);
  if (!isWhole) return;
  writePage(verdicts, full);
  tell(`\nWritten to ${fileURLToPath(PAGE)}`);
  tell(
    writeHeadline(verdicts)
      ? 'Its head stands in README.md.'
      : 'README.md has no markers for its head (<!-- compare:headline -->).',
  );
}

/** @param {string[]} args */
function readArguments(args) {
  const { help, only, scenario } = parse(args);
  return {
    help,
    names: /** @type {ContenderName[]} */ (known('--only', only, Object.keys(contenders))),
    chosen: /** @type {ScenarioName[]} */ (known('--scenario', scenario, Object.keys(scenarios))),
    isWhole: only === undefined && scenario === undefined,
  };
}

/** @param {string} option @param {string | undefined} list @param {readonly string[]} all */
function known(option, list, all) {
  const names = list?.split(',') ?? all;
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0)
    throw new BadArguments(`${option}: there is no ${unknown.map((name) => JSON.stringify(name)).join(', ')}.`);
  return names;
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      options: { only: { type: 'string' }, scenario: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
    }).values;
  } catch (error) {
    throw new BadArguments(error instanceof Error ? error.message : String(error));
  }
}
