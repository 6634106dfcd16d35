// @ts-check

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BadArguments } from '@solorun/servers/program';
import { nemeses, nemesisNamed } from './nemeses.js';
import { pages } from './places.js';
import { MIXED, mixedOn } from './programme.js';
import { workloads } from './workloads.js';

/** @import { PageName } from './places.js' */

const width = Math.max(...Object.keys(nemeses).map((name) => name.length));

export const HELP = `Lets fleets work while faults happen to them, and checks what they did against docs/guarantees.md.

Usage: npm run faults -- [options]

  --provider NAME,…   ${Object.keys(pages).join(', ')}. Default: all
  --nemesis NAME,…    these together, drawn at random; "none" for a calm round, "mixed" for all that can be mixed on a provider.
                      Default: the whole programme
  --workload NAME     ${Object.keys(workloads).join(', ')}. Default: ticks
  --job JSON          what a fleet does, over what is drawn: {"leaseMs": 1000, "onBusy": "standby"}
  --seconds N         for how long faults are injected in each round. Default: 10
  --rounds N          how often each scenario is played, each time with another seed. Default: 1
  --seed N            what is drawn follows from it. Default: any; it is printed
  --at-once N         rounds that are played side by side. Default: 2
  --beside DIRECTORY  the last replica of each fleet runs what is built there: a checkout of another version
  --keep DIRECTORY    leaves the journals there
  --write             writes docs/faults.md; with the whole programme
  -h, --help          this text

Nemeses:
${Object.keys(nemeses)
  .map((name) => `  ${name.padEnd(width)}  ${nemesisNamed(name).title}`)
  .join('\n')}

Exit status 1 if a promise was broken that the docs do not exclude. Some nemeses take root, faketime or a Redis; what is missing is said.
`;

/** @param {string[]} args */
export function readArguments(args) {
  const { values } = parse(args);
  const on = /** @type {PageName[] | undefined} */ (known('--provider', values.provider, Object.keys(pages)));
  const strikes = strikesOf(values.nemesis);
  const [workload] = known('--workload', values.workload, Object.keys(workloads)) ?? [];
  if (values.write && (on !== undefined || strikes !== undefined || workload !== undefined)) {
    throw new BadArguments('--write is for the whole programme: leave --provider, --nemesis and --workload out.');
  }
  return {
    help: values.help,
    write: values.write,
    keep: values.keep,
    beside: values.beside === undefined ? undefined : resolve(values.beside),
    on: on ?? /** @type {PageName[]} */ (Object.keys(pages)),
    strikes,
    job: {
      ...(workload === undefined ? {} : { workload: /** @type {keyof typeof workloads} */ (workload) }),
      ...jobOf(values.job),
    },
    seconds: whole('--seconds', values.seconds),
    rounds: whole('--rounds', values.rounds),
    atOnce: whole('--at-once', values['at-once']),
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : whole('--seed', values.seed),
  };
}

/**
 * Which nemeses there are on a provider; undefined: the whole programme.
 *
 * @param {string | undefined} text
 * @returns {((page: PageName) => readonly string[]) | undefined}
 */
function strikesOf(text) {
  if (text === MIXED) return mixedOn;
  const names = text === 'none' ? [] : known('--nemesis', text, Object.keys(nemeses));
  return names === undefined ? undefined : () => names;
}

/** @param {string} option @param {string | undefined} list @param {readonly string[]} all */
function known(option, list, all) {
  const names = list?.split(',').map((name) => name.trim());
  const unknown = names?.filter((name) => !all.includes(name)) ?? [];
  if (unknown.length > 0)
    throw new BadArguments(`${option}: there is no ${unknown.map((name) => JSON.stringify(name)).join(', ')}.`);
  return names;
}

/** @param {string} option @param {string} text */
function whole(option, text) {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0 && text.trim() !== '') return number;
  throw new BadArguments(`${option} is a whole number, not ${JSON.stringify(text)}.`);
}

/** @param {string} text @returns {Partial<import('./worker.js').Job>} */
function jobOf(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BadArguments(`--job is JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      options: {
        provider: { type: 'string' },
        nemesis: { type: 'string' },
        workload: { type: 'string' },
        job: { type: 'string', default: '{}' },
        seconds: { type: 'string', default: '10' },
        rounds: { type: 'string', default: '1' },
        seed: { type: 'string' },
        'at-once': { type: 'string', default: '2' },
        keep: { type: 'string' },
        beside: { type: 'string' },
        write: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new BadArguments(error instanceof Error ? error.message : String(error));
  }
}
