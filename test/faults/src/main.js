#!/usr/bin/env node
// @ts-check
// The fault programme's command line.

import { join } from 'node:path';
import { postgresMissing } from '@solorun/servers/postgres';
import { print, runProgram, tell } from '@solorun/servers/program';
import { HELP, readArguments } from './arguments.js';
import { nemesisNamed } from './nemeses.js';
import { wholeProgramme } from './programme.js';
import { createRandom } from './random.js';
import { nameOf, PAGE, writePage } from './report.js';
import { playRound, roundMissing } from './round.js';

/** @import { Outcome, Scenario } from './round.js' */

await runProgram(main, HELP);

async function main() {
  const settings = readArguments(process.argv.slice(2));
  if (settings.help) return print(HELP);
  const missing = postgresMissing();
  if (missing !== undefined) throw new Error(missing);
  print(`seed ${settings.seed}`);
  const scenarios = scenariosOf(settings);
  /** @type {Outcome[]} */
  const outcomes = [];
  /** @type {string[]} */
  const unplayed = [];
  /** @type {Set<string>} */
  const skipped = new Set();
  const waiting = [...scenarios];
  const startedAt = performance.now();
  const player = async () => {
    for (let given = waiting.shift(); given !== undefined; given = waiting.shift()) {
      const next = withoutMissing(given, (line) => skipped.add(line));
      const why = roundMissing(next);
      if (why !== undefined) {
        skipped.add(`SKIPPED: ${nameOf(next)}. ${why}`);
        continue;
      }
      const number = scenarios.indexOf(given) + 1;
      const place = String(number).padStart(3);
      try {
        const outcome = await playRound(next, settings.keep === undefined ? {} : { keep: join(settings.keep, String(number)) });
        outcomes.push(outcome);
        print(`${place}/${scenarios.length}  ${lineOf(outcome)}`);
      } catch (error) {
        // The harness's own trouble: the others are played all the same, and the programme fails.
        unplayed.push(nameOf(next));
        print(
          `${place}/${scenarios.length}  ${nameOf(next)} --seed ${next.seed}: NOT PLAYED: ${String(error instanceof Error ? error.stack : error)}`,
        );
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, settings.atOnce) }, player));
  for (const line of skipped) tell(line);
  const broken = outcomes.flatMap(({ violations }) => violations.filter(({ excluded }) => excluded === undefined));
  const minutes = (performance.now() - startedAt) / 60_000;
  const seen = outcomes.flatMap(({ violations }) => violations).length - broken.length;
  print(
    `${outcomes.length} rounds in ${minutes.toFixed(1)} min: ${broken.length} promises broken, and ${seen} that the docs exclude`,
  );
  if (settings.write) {
    writePage(outcomes, {
      seed: settings.seed,
      seconds: settings.seconds,
      minutes,
      missing: [...skipped, ...unplayed.map((name) => `Not played: ${name}`)],
    });
    tell(`Written to ${PAGE.pathname}`);
  }
  if (broken.length > 0) process.exitCode = 1;
  else if (unplayed.length > 0) process.exitCode = 70;
}

/** @param {ReturnType<typeof readArguments>} settings @returns {Scenario[]} */
function scenariosOf({ on, strikes, job, seconds, rounds, seed, beside }) {
  const plays =
    strikes === undefined && Object.keys(job).length === 0
      ? wholeProgramme(on)
      : on.map((page) => ({ page, nemeses: strikes?.(page) ?? [], job }));
  const random = createRandom(seed);
  // The first seed is the one that was given, so that a round which is named by its seed can be played again.
  return Array.from({ length: rounds }, () => plays)
    .flat()
    .map((play, index) => ({
      ...play,
      ...(beside === undefined ? {} : { beside }),
      seconds,
      seed: index === 0 ? seed : random.between(0, 2 ** 32 - 1),
    }));
}

/**
 * A mixed round, without what this machine cannot do.
 *
 * @param {Scenario} scenario @param {(line: string) => void} skip
 * @returns {Scenario}
 */
function withoutMissing(scenario, skip) {
  if (scenario.nemeses.length < 2) return scenario;
  const able = scenario.nemeses.filter((name) => {
    const why = nemesisNamed(name).missing?.();
    if (why !== undefined) skip(`SKIPPED: ${name}, in mixed rounds on ${scenario.page}. ${why}`);
    return why === undefined;
  });
  return { ...scenario, nemeses: able };
}

/** @param {Outcome} outcome */
function lineOf({ scenario, figures, violations }) {
  const { asked, ran, lost, refused, faults, worstRecoveryMs, worstTakeOverMs } = figures;
  const recovery = worstRecoveryMs === undefined ? '' : `, at work again after ${Math.round(worstRecoveryMs)} ms at most`;
  const takeOver = worstTakeOverMs === undefined ? '' : `, dead holders followed after ${Math.round(worstTakeOverMs)} ms at most`;
  const counts = `${faults} faults, ${asked} asked, ${ran} ran, ${lost} lost, ${refused} refused${recovery}${takeOver}`;
  const broken = violations.filter(({ excluded }) => excluded === undefined);
  const known = new Map(violations.filter(({ excluded }) => excluded !== undefined).map((one) => [one.kind, one]));
  const lines = [
    ...broken.map(({ kind, name, detail }) => `BROKEN: ${kind} of ${name}: ${detail}`),
    // The last of each kind stands for all of it.
    ...[...known.values()].map(({ kind, name, detail, excluded }) => `excluded: ${kind} of ${name}: ${detail} (“${excluded}”)`),
  ];
  return [`${nameOf(scenario)} --seed ${scenario.seed}: ${counts}`, ...lines].join('\n         ');
}
