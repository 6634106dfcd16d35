// @ts-check
// Asks a test, or the fault programme, whether something is broken in the scratch copy.

import { existsSync, readFileSync, rmSync } from 'node:fs';

/** @import { Programme, Test } from './mutant.js' */
/** @import { Scratch } from './scratch.js' */

/**
 * `broken`: by what. `skipped`: what would tell cannot run on this machine. `unusable`: nothing was judged, and why.
 *
 * @typedef {{ readonly verdict: 'well' | 'skipped' } | { readonly verdict: 'broken', readonly by: string }
 *   | { readonly verdict: 'unusable', readonly why: string }} Judgement
 */

const RESULT = 'result.json';

/**
 * @param {Scratch} scratch
 * @param {readonly Test[]} tests of one project
 * @param {number} [explorations]
 * @returns {Promise<Judgement>}
 */
export async function judgeByTests(scratch, tests, explorations) {
  const [first] = tests;
  if (first === undefined) return { verdict: 'well' };
  const names = [...new Set(tests.map(({ test }) => escape(test)))].join('|');
  const files = [...new Set(tests.map(({ file }) => file))];
  rmSync(scratch.path(RESULT), { force: true });
  const what = ['--project', first.project, ...files, '--testNamePattern', names, '--bail', '1'];
  const how = ['--reporter', 'json', '--outputFile', RESULT];
  const env = explorations === undefined ? {} : { SOLORUN_SIMULATIONS: String(explorations) };
  const { output } = await scratch.run(['node_modules/vitest/vitest.mjs', 'run', ...what, ...how], env);
  if (!existsSync(scratch.path(RESULT))) return { verdict: 'unusable', why: `vitest gave no result:\n${output}` };
  /** @type {Result} */
  const { testResults } = JSON.parse(readFileSync(scratch.path(RESULT), 'utf8'));
  const ran = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = ran.find(({ status }) => status === 'failed');
  if (failed !== undefined) return { verdict: 'broken', by: `${first.project}: "${failed.fullName}"` };
  // A file that fails as a whole has tested nothing.
  const unusable = testResults.find(({ status }) => status === 'failed');
  if (unusable !== undefined) return { verdict: 'unusable', why: `${unusable.name}: ${unusable.message}` };
  const unknown = tests.find(({ test }) => !ran.some(({ fullName }) => fullName.includes(test)));
  if (unknown !== undefined)
    return { verdict: 'unusable', why: `${unknown.file} has no test named ${JSON.stringify(unknown.test)}` };
  return { verdict: ran.some(({ status }) => status === 'passed') ? 'well' : 'skipped' };
}

/**
 * The part of vitest's result that is used.
 *
 * @typedef {{ readonly testResults: readonly {
 *   readonly name: string, readonly status: string, readonly message: string,
 *   readonly assertionResults: readonly { readonly fullName: string, readonly status: string }[],
 * }[] }} Result
 */

/**
 * @param {Scratch} scratch
 * @param {Programme} programme
 * @returns {Promise<Judgement>}
 */
export async function judgeByFaults(scratch, { faults }) {
  const { status, output } = await scratch.run(['test/faults/src/main.js', ...faults.split(' ')]);
  if (status === 1 && output.includes('BROKEN')) return { verdict: 'broken', by: `npm run faults -- ${faults}` };
  if (status !== 0) return { verdict: 'unusable', why: `the fault programme ended with ${status}:\n${output}` };
  return { verdict: output.includes('SKIPPED') ? 'skipped' : 'well' };
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`);
}
