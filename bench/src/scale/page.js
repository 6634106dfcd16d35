// @ts-check
// scale.md and its pictures.

import { mkdirSync, writeFileSync } from 'node:fs';
import { describeMachine } from '../machine.js';
import { figure, forMarkdown } from '../table.js';
import { plot } from './plot.js';

/** @import { Curve, Point, Scale } from './measure.js' */
/** @import { Picture } from './plot.js' */

export const PAGE = new URL('../../scale.md', import.meta.url);
const PLOTS = new URL('../../plots/', import.meta.url);

/**
 * @param {Scale} scale
 * @returns {Record<'replicas-handoff' | 'replicas-statements' | 'names-handoff' | 'names-statements', string>} SVG
 */
export function pictures({ replicas, names }) {
  const waiting = { x: 'replicas that wait for one name (processes)' };
  const held = { x: 'names held by one process' };
  return {
    'replicas-handoff': plot({ ...waiting, ...handOff('Hand-off from one replica to the next', replicas) }),
    'replicas-statements': plot({ ...waiting, ...statements('What the server is asked while replicas wait', replicas) }),
    'names-handoff': plot({ ...held, ...handOff('Hand-off, by a process that holds other names too', names) }),
    'names-statements': plot({ ...held, ...statements('What the server is asked to keep names held', names) }),
  };
}

/** @param {Scale} scale */
export function writeScale(scale) {
  mkdirSync(PLOTS, { recursive: true });
  for (const [name, svg] of Object.entries(pictures(scale))) writeFileSync(new URL(`${name}.svg`, PLOTS), svg);
  const { machine, versions, files } = describeMachine();
  writeFileSync(
    PAGE,
    `# How it scales

Written by \`npm run bench -- --scale\` on ${new Date().toISOString().slice(0, 10)}; do not edit. Measured on ${machine}; ${versions};
${files}. All processes share that machine, and choose their processors freely.

*Hand-off*: from the call that gives the lock back in one process to the start of the handler in the next. *Statements*: counted on the
wire while nothing changes hands, for 20 s. Leases have the default length, 30 s, so each is renewed twice in that time.

## Replicas that wait for one name

![Hand-off against replicas](plots/replicas-handoff.svg)
![Statements against replicas](plots/replicas-statements.svg)

${forMarkdown(tableOf('replicas', scale.replicas))}

## Names held by one process

![Hand-off against names held](plots/names-handoff.svg)
![Statements against names held](plots/names-statements.svg)

${forMarkdown(tableOf('names', scale.names))}
`,
  );
}

/**
 * @param {string} what
 * @param {readonly Curve[]} curves
 */
export function tableOf(what, curves) {
  return {
    head: [what, ...curves.flatMap(({ name }) => [`${name}: hand-off, median ms`, 'p90 ms', 'statements/s'])],
    rows: (curves[0]?.points ?? []).map(({ x }, index) => [
      x.toLocaleString('en'),
      ...curves.flatMap(({ points }) => {
        const { medianMs = Number.NaN, p90Ms = Number.NaN, perSecond = Number.NaN } = points[index] ?? {};
        return [medianMs, p90Ms, perSecond].map(figure);
      }),
    ]),
  };
}

/**
 * @param {string} title
 * @param {readonly Curve[]} curves
 * @returns {Omit<Picture, 'x'>}
 */
function handOff(title, curves) {
  /** @param {(point: Point) => number} y */
  const through =
    (y) =>
    (/** @type {Curve} */ { points }) =>
      points.map((point) => /** @type {const} */ ([point.x, y(point)]));
  return {
    ...{ title, y: 'hand-off (ms)' },
    lines: curves.flatMap((curve, color) => [
      { name: `${curve.name}, median`, color, dashed: false, points: through(({ medianMs }) => medianMs)(curve) },
      { name: `${curve.name}, p90`, color, dashed: true, points: through(({ p90Ms }) => p90Ms)(curve) },
    ]),
  };
}

/**
 * @param {string} title
 * @param {readonly Curve[]} curves
 * @returns {Omit<Picture, 'x'>}
 */
function statements(title, curves) {
  return {
    ...{ title, y: 'statements per second' },
    lines: curves.map(({ name, points }, color) => ({
      ...{ name, color, dashed: false },
      points: points.map(({ x, perSecond }) => /** @type {const} */ ([x, perSecond])),
    })),
  };
}
