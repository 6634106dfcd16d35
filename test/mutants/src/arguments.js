// @ts-check

import { parseArgs } from 'node:util';
import { BadArguments } from '@solorun/servers/program';

export const HELP = `Breaks the real algorithms on purpose, one line at a time, each in a copy of the sources, and says which test has noticed.

Usage: npm run mutants -- [options]

  --only TEXT   those whose name, package or file has this text in it
  --list        applies nothing: prints what there is, and the test that is to notice each
  -h, --help    this text

Each test is run without a mutant first, and has to pass. Exit status 1 if a mutant was not noticed, or if the text that one replaces
does not stand in its file exactly once: the list (test/mutants/src/list) follows the code. Mutants that need Redis, or another thing
that is not installed, are said to be skipped; with CI=true that is a failure, too.
`;

/** @param {string[]} args */
export function readArguments(args) {
  try {
    return parseArgs({
      args,
      options: {
        only: { type: 'string', default: '' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new BadArguments(error instanceof Error ? error.message : String(error));
  }
}
