// @ts-check
// results.md: everything that was measured, on what, and how to do it again.

import { writeFileSync } from 'node:fs';
import { headline, RESULTS } from './headline.js';
import { describeMachine } from './machine.js';
import { figuresOf, forMarkdown, goalsOf } from './table.js';

/** @import { Group } from './result.js' */

/** @param {readonly Group[]} groups */
export function writeResults(groups) {
  const { machine, versions, files, pinning, warnings } = describeMachine();
  const text = `# What a lock costs

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}; do not edit. Times belong to the machine. What carries over are
the ratios: all that stand in one table took turns in one run, each ratio was taken within a segment of that run, and what is shown is
the median over the segments, with the smallest and the largest. *By hand*, or *floor*, is the least that does the same job, without
fences, records, occurrences or a signal.

| | |
|---|---|
| machine | ${machine} |
| versions | ${versions} |
| files | ${files} |
| processors | ${pinning} |
${warnings.map((warning) => `\n**${warning}**\n`).join('')}
${headline(groups)}

## Goals

${forMarkdown(goalsOf(groups))}
${groups
  .map(
    (group) => `
## ${group.title}

\`npm run bench -- --rows ${group.row}\`. ${group.how}

${forMarkdown(figuresOf(group))}
`,
  )
  .join('')}`;
  writeFileSync(RESULTS, text);
}
