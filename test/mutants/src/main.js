#!/usr/bin/env node
// @ts-check
// Breaks the real algorithms one line at a time, and says which test notices each.

import { BadArguments, print, runProgram, tell } from '@solorun/servers/program';
import { HELP, readArguments } from './arguments.js';
import { judgeByFaults, judgeByTests } from './judge.js';
import { equal, mutants } from './list.js';
import { stale } from './mutant.js';
import { Scratch } from './scratch.js';

/** @import { Judgement } from './judge.js' */
/** @import { Mutant, Programme, Test } from './mutant.js' */

await runProgram(main, HELP);

async function main() {
  const { help, list, only } = readArguments(process.argv.slice(2));
  if (help) return print(HELP);
  const chosen = mutants.filter((mutant) => titleOf(mutant).toLowerCase().includes(only.toLowerCase()));
  if (chosen.length === 0) throw new BadArguments(`--only: no mutant has ${JSON.stringify(only)} in it.`);
  if (list) return printList(chosen);
  const lost = chosen.flatMap((mutant) => stale(mutant) ?? []);
  if (lost.length > 0) throw new Error(`The list has to follow the code:\n${lost.join('\n')}`);

  const startedAt = performance.now();
  const scratch = new Scratch();
  const complaint = await scratch.build();
  if (complaint !== undefined) throw new Error(`The sources cannot be compiled:\n${complaint}`);
  tell('Without a mutant …');
  await requireWell(scratch, chosen);

  /** @type {Record<string, number>} */
  const counts = { caught: 0, skipped: 0, missed: 0 };
  for (const mutant of chosen) {
    const begun = performance.now();
    const judgement = await tried(scratch, mutant);
    const how = { broken: 'caught', skipped: 'skipped', well: 'missed', unusable: 'missed' }[judgement.verdict];
    counts[how] = (counts[how] ?? 0) + 1;
    print(`${titleOf(mutant)}\n    ${wordsOf(mutant, judgement)} (${seconds(begun)})`);
  }
  print(`\n${counts['caught']} of ${chosen.length} mutants were caught, in ${seconds(startedAt)}.`);
  if (counts['skipped'] !== 0) print(`${counts['skipped']} were skipped: their tests cannot run here.`);
  if (only === '') printEqual();
  const isFailure = counts['missed'] !== 0 || (counts['skipped'] !== 0 && process.env['CI'] === 'true');
  process.exitCode = isFailure ? 1 : 0;
}

/**
 * A test that fails anyway notices nothing.
 *
 * @param {Scratch} scratch
 * @param {readonly Mutant[]} chosen
 */
async function requireWell(scratch, chosen) {
  /** @type {Map<string, Test[]>} */
  const byProject = new Map();
  /** @type {Map<string, Programme>} */
  const programmes = new Map();
  for (const { caughtBy } of chosen) {
    if ('faults' in caughtBy) programmes.set(caughtBy.faults, caughtBy);
    else byProject.set(caughtBy.project, [...(byProject.get(caughtBy.project) ?? []), caughtBy]);
  }
  for (const tests of byProject.values()) require(await judgeByTests(scratch, tests));
  for (const programme of programmes.values()) require(await judgeByFaults(scratch, programme));
}

/** @param {Judgement} judgement */
function require(judgement) {
  if (judgement.verdict === 'broken') throw new Error(`This fails without a mutant, too: ${judgement.by}`);
  if (judgement.verdict === 'unusable') throw new Error(`Nothing can be judged: ${judgement.why}`);
}

/**
 * @param {Scratch} scratch
 * @param {Mutant} mutant
 */
async function tried(scratch, mutant) {
  const takeBack = scratch.apply(mutant);
  try {
    const complaint = await scratch.build();
    if (complaint !== undefined) return /** @type {const} */ ({ verdict: 'unusable', why: `it cannot be compiled:\n${complaint}` });
    const { caughtBy } = mutant;
    return 'faults' in caughtBy
      ? await judgeByFaults(scratch, caughtBy)
      : await judgeByTests(scratch, [caughtBy], caughtBy.explorations);
  } finally {
    takeBack();
  }
}

/** @param {Mutant} mutant */
function titleOf({ package: name, file, name: says }) {
  return `${name}/${file}: ${says}`;
}

/** @param {Mutant} mutant @param {Judgement} judgement */
function wordsOf(mutant, judgement) {
  switch (judgement.verdict) {
    case 'broken':
      return `caught by ${judgement.by}`;
    case 'skipped':
      return `SKIPPED: cannot run here: ${judgeOf(mutant)}`;
    case 'unusable':
      return `NOT CAUGHT: ${judgement.why}`;
    case 'well':
      return `NOT CAUGHT by ${judgeOf(mutant)}`;
  }
}

/** @param {Mutant} mutant */
function judgeOf({ caughtBy }) {
  return 'faults' in caughtBy
    ? `npm run faults -- ${caughtBy.faults}`
    : `${caughtBy.project}, ${caughtBy.file}: "${caughtBy.test}"`;
}

/** @param {number} since */
function seconds(since) {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`;
}

/** @param {readonly Mutant[]} chosen */
function printList(chosen) {
  for (const mutant of chosen) print(`${titleOf(mutant)}\n    ${judgeOf(mutant)}`);
  print(`\n${chosen.length} mutants.`);
  printEqual();
}

function printEqual() {
  if (equal.length > 0) print('\nThese change nothing that anybody could observe, and are not tried:');
  for (const { package: name, file, name: says, reason } of equal) print(`${name}/${file}: ${says}\n    ${reason}`);
}
