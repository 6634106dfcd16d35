// @ts-check

import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BadArguments } from '@solorun/servers/program';
import { WORKER_THERE } from './fleet.js';
import { nemeses, nemesisNamed } from './nemeses.js';
import { pages } from './places.js';
import { MIXED, mixedOn } from './programme.js';
import { workloads } from './workloads.js';

/** @import { PageName } from './places.js' */

/** @satisfies {(keyof import('./worker.js').Job)[]} */
const JOB_KEYS = ['workload', 'names', 'leaseMs', 'tickMs', 'jobMs', 'stepMs', 'asks', 'onBusy', 'attempts'];

const width = Math.max(...Object.keys(nemeses).map((name) => name.length));

export const HELP = `Lets fleets work while faults happen to them, and checks what they did against docs/guarantees.md.

Usage: npm run faults -- [options]

  --provider NAME,…   ${Object.keys(pages).join(', ')}. Default: all
  --nemesis NAME,…    these together, drawn at random; "none" for a calm round, "mixed" for all that can be mixed on a provider.
                      Default: the whole programme; with --workload or --job, a calm round
  --workload NAME     ${Object.keys(workloads).join(', ')}. Default: ticks
  --job JSON          what a fleet does, over what is drawn: {"leaseMs": 1000, "onBusy": "standby"}
  --seconds N         for how long faults are injected in each round, from 1. Default: 10
  --rounds N          how often each scenario is played, from 1, each time with another seed. Default: 1
  --seed N            what is drawn follows from it. Default: any; it is printed
  --at-once N         rounds that are played side by side. Default: 2
  --beside DIRECTORY  the last replica of each fleet runs what is built there: a checkout of another version
  --keep DIRECTORY    leaves the journals there; it is to be empty, or not there yet
  --write             writes docs/faults.md; with the whole programme
  -h, --help          this text

Nemeses:
${Object.keys(nemeses)
  .map((name) => `  ${name.padEnd(width)}  ${nemesisNamed(name).title}`)
  .join('\n')}

Exit status 1 if a promise was broken that the docs do not exclude; 70 if a round could not be played. Some nemeses take root, faketime or a Redis; what is missing is said.
`;

/** @param {string[]} args */
export function readArguments(args) {
  const { values } = parse(args);
  const on = /** @type {PageName[] | undefined} */ (known('--provider', values.provider, Object.keys(pages)));
  const strikes = strikesOf(values.nemesis);
  const [workload] = known('--workload', values.workload, Object.keys(workloads)) ?? [];
  const others = ['provider', 'nemesis', 'workload', 'job', 'rounds', 'beside'].filter((name) => name in values);
  if (values.write && others.length > 0) {
    throw new BadArguments(`--write is for the whole programme: leave out --${others.join(', --')}.`);
  }
  return {
    help: values.help,
    write: values.write,
    keep: emptyDirectory(values.keep),
    beside: otherVersion(values.beside),
    on: on ?? /** @type {PageName[]} */ (Object.keys(pages)),
    strikes,
    job: {
      ...(workload === undefined ? {} : { workload: /** @type {keyof typeof workloads} */ (workload) }),
      ...jobOf(values.job ?? '{}'),
    },
    seconds: whole('--seconds', values.seconds, 1),
    rounds: whole('--rounds', values.rounds ?? '1', 1),
    atOnce: whole('--at-once', values['at-once'], 1),
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
  if (names === undefined) return undefined;
  return (page) => {
    const wrong = names.find((name) => !nemesisNamed(name).on.includes(page));
    if (wrong !== undefined)
      throw new BadArguments(`--nemesis ${wrong} is for ${nemesisNamed(wrong).on.join(', ')}: name one of them by --provider.`);
    return names;
  };
}

/** @param {string | undefined} given */
function emptyDirectory(given) {
  if (given === undefined) return undefined;
  const directory = resolve(given);
  if (existsSync(directory) && readdirSync(directory).length > 0) throw new BadArguments(`--keep: ${directory} is not empty.`);
  return directory;
}

/** @param {string | undefined} given */
function otherVersion(given) {
  if (given === undefined) return undefined;
  const directory = resolve(given);
  if (!existsSync(join(directory, WORKER_THERE))) throw new BadArguments(`--beside: there is no ${WORKER_THERE} in ${directory}.`);
  return directory;
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
function whole(option, text, least = 0) {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= least && text.trim() !== '') return number;
  throw new BadArguments(`${option} is a whole number from ${least}, not ${JSON.stringify(text)}.`);
}

/** @param {string} text @returns {Partial<import('./worker.js').Job>} */
function jobOf(text) {
  const job = parsed(text);
  known('--job', Object.keys(job).join() || undefined, JOB_KEYS);
  return job;
}

/** @param {string} text */
function parsed(text) {
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
        job: { type: 'string' },
        seconds: { type: 'string', default: '10' },
        rounds: { type: 'string' },
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
