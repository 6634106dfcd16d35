// @ts-check
// docs/comparison.md, and its head in the README.

import { readFileSync, writeFileSync } from 'node:fs';
import { columns } from './columns.js';
import { contenders, packagesOf } from './contenders.js';

/** @import { Column, Figures } from './columns.js' */
/** @import { ContenderName } from './contenders.js' */
/** @import { Effort } from './scenarios.js' */

/** @typedef {{ readonly head: readonly string[], readonly rows: readonly (readonly string[])[] }} Table */
/** @typedef {ReadonlyMap<ContenderName, ReadonlyMap<Column, string>>} Verdicts By contender and column. */

export const PAGE = new URL('../../../docs/comparison.md', import.meta.url);
const README = new URL('../../../README.md', import.meta.url);
const BEGIN = '<!-- compare:headline -->';
const END = '<!-- /compare:headline -->';

/**
 * @param {ReadonlyMap<ContenderName, Figures>} all
 * @param {Effort} effort
 * @returns {Verdicts}
 */
export function verdictsOf(all, effort) {
  return new Map(
    [...all].map(([name, figures]) => [name, new Map(columns.map((column) => [column, column.verdict(figures, effort) ?? '–']))]),
  );
}

/**
 * @param {Verdicts} verdicts
 * @param {readonly Column[]} [shown]
 * @param {(column: Column) => string} [headOf]
 * @returns {Table}
 */
export function tableOf(verdicts, shown = columns, headOf = ({ head }) => head) {
  return {
    head: ['', ...shown.map(headOf)],
    rows: [...verdicts].map(([name, words]) => {
      const { title, ours } = contenders[name];
      return [ours ? `**${title}**` : title, ...shown.map((column) => words.get(column) ?? '')];
    }),
  };
}

/** @param {Table} table */
function forMarkdown({ head, rows }) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** Each contender in a block of its own: the table is too wide for a terminal. @param {Table} table */
export function forTerminal({ head, rows }) {
  const width = Math.max(...head.map((cell) => cell.length));
  return rows
    .map(([title = '', ...cells]) =>
      [title.replaceAll('*', ''), ...cells.map((cell, column) => `  ${(head[column + 1] ?? '').padEnd(width)}  ${cell}`)].join(
        '\n',
      ),
    )
    .join('\n\n');
}

/** @param {Verdicts} verdicts @param {Effort} effort */
export function writePage(verdicts, { leaseMs }) {
  const seconds = `${leaseMs / 1_000} s`;
  writeFileSync(
    PAGE,
    `# Solorun beside what people use instead

The same faults happen to Solorun and to what people use instead, and the table says which of them run a tick twice, let two holders act
at once, or leave a holder in the dark.

Written by \`npm run compare\`; do not edit. Each contender is used as its documentation shows, with real processes and servers. A lock lives
for ${seconds} without news of its holder, where there is such a time. A dash stands where a question makes no sense: a lock file has no
server, and no holder acts beside a successor that never comes.

${forMarkdown(tableOf(verdicts))}

## Where another one is better

Compared with Solorun on the same store, column by column.

${better(verdicts)
  .map((sentence) => `- ${sentence}`)
  .join('\n')}

The benchmark measures what a lock costs, and there, too, others are cheaper in some rows: [bench/results.md](../bench/results.md).

## What was done

${columns.map(({ head, what }) => `- **${head}.** ${what}`).join('\n')}

## The recipes

A job that runs at each tick is a handler of node-cron on every replica with the lock around it, unless the contender has a scheduler of its
own. A replica that finds the lock busy skips the tick. In all columns but the first two a long job holds the lock, and the other replica waits
for it as the package waits.

${recipesOf(verdicts).join('\n')}
`,
  );
}

/**
 * One for each contender; those that are used in the same way share one.
 *
 * @param {Verdicts} verdicts
 */
function recipesOf(verdicts) {
  const names = [...verdicts.keys()];
  const recipes = [...new Set(names.map((name) => contenders[name].recipe))];
  return recipes.map((recipe) => {
    const used = names.map((name) => contenders[name]).filter((contender) => contender.recipe === recipe);
    const packages = [...new Set(used.flatMap(packagesOf))];
    const docs = [...new Set(used.map((contender) => contender.docs))].map(
      (link, n) => `[${n === 0 ? 'its documentation' : n + 1}](${link})`,
    );
    const titles = inWords(used.map(({ title }) => `**${title}**`));
    return `- ${titles}${packages.length === 0 ? '' : ` (${packages.join(', ')})`}: ${docs.join(', ')}. ${recipe}`;
  });
}

/**
 * Where a peer's word is better than that of ours on its store, in sentences.
 *
 * @param {Verdicts} verdicts
 * @returns {string[]}
 */
export function better(verdicts) {
  const sentences = columns.flatMap((column) => {
    /** @type {Map<string, string[]>} */
    const found = new Map();
    for (const [name, words] of verdicts) {
      const { title, beside } = contenders[name];
      const [theirs = '', our = ''] = [words.get(column), beside && verdicts.get(beside)?.get(column)];
      const [rank, ourRank] = [column.order.indexOf(theirs), column.order.indexOf(our)];
      if (beside === undefined || rank === -1 || ourRank === -1 || rank >= ourRank) continue;
      const key = `*${theirs}*, where ${contenders[beside].title} says *${our}*`;
      found.set(key, [...(found.get(key) ?? []), title]);
    }
    return [...found].map(
      ([words, titles]) =>
        `**${fullHead(column)}:** ${inWords(titles)}: ${words}.${column.because === undefined ? '' : ` ${column.because}`}`,
    );
  });
  return sentences.length === 0 ? ['Nowhere in these columns.'] : sentences;
}

/**
 * Puts the columns that a reader wants first into the README, if it has the markers. Returns whether it has.
 *
 * @param {Verdicts} verdicts
 */
export function writeHeadline(verdicts) {
  const between = new RegExp(`${BEGIN}[^]*${END}`);
  const readme = readFileSync(README, 'utf8');
  if (!between.test(readme)) return false;
  const table = forMarkdown(
    tableOf(
      verdicts,
      columns.filter(({ short }) => short !== undefined),
      ({ short = '' }) => short,
    ),
  );
  writeFileSync(
    README,
    readme.replace(between, () => `${BEGIN}\n${table}\n${END}`),
  );
  return true;
}

/** One that goes on from the column before, with what that is about. @param {Column} column */
function fullHead({ head, scenario }) {
  const first = columns.find((column) => column.scenario === scenario)?.head ?? '';
  return head.startsWith('… ') ? `${first.split(':')[0]} ${head}` : head;
}

/** @param {readonly string[]} titles */
function inWords(titles) {
  return titles.length < 2 ? titles.join('') : `${titles.slice(0, -1).join(', ')} and ${titles.at(-1)}`;
}
