// @ts-check
// The scenarios on the contenders, as many at a time as a small machine can start.

import { isOn, scenarios } from './columns.js';
import { contenders } from './contenders.js';

/** @import { Figures } from './columns.js' */
/** @import { ContenderName } from './contenders.js' */
/** @import { Effort } from './scenarios.js' */

/** @typedef {keyof Figures} ScenarioName */

/** Replicas mostly wait, and use the processor when they start. */
const AT_ONCE = 8;

/** The longest come first. @type {readonly ScenarioName[]} */
const later = ['pause', 'cut', 'reset', 'skew', 'kill', 'connections'];

/**
 * @param {readonly ContenderName[]} names
 * @param {readonly ScenarioName[]} chosen
 * @param {Effort} effort
 * @param {(text: string) => void} tell
 * @returns {Promise<Map<ContenderName, Figures>>}
 */
export async function compare(names, chosen, effort, tell) {
  /** @type {Map<ContenderName, Figures>} */
  const all = new Map(names.map((name) => [name, {}]));
  const trial = async (/** @type {ContenderName} */ name, /** @type {ScenarioName} */ scenario, together = async () => {}) => {
    const figures = await scenarios[scenario].run(name, effort, together);
    Object.assign(all.get(name) ?? {}, figures);
    tell(`${name}: ${JSON.stringify(figures)}`);
  };
  if (chosen.includes('late')) {
    // All start before the first one is looked at, so that 200 ms are 200 ms.
    const together = barrier(names.length);
    await Promise.all(names.map((name) => trial(name, 'late', together)));
  }
  const trials = later
    .filter((scenario) => chosen.includes(scenario))
    .flatMap((scenario) =>
      names.filter((name) => isOn(contenders[name], scenarios[scenario])).map((name) => () => trial(name, scenario)),
    );
  const work = async () => {
    for (let next = trials.shift(); next !== undefined; next = trials.shift()) await next();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return all;
}

/** Resolves when so many wait for it. @param {number} count */
function barrier(count) {
  let missing = count;
  let open = () => {};
  const opened = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      open = resolve;
    })
  );
  return async () => {
    missing -= 1;
    if (missing === 0) open();
    await opened;
  };
}
