// @ts-check
// docs/faults.md, from what a long run found.

import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { nemesisNamed } from './nemeses.js';
import { pages } from './places.js';
import { MIXED, mixedOn } from './programme.js';

/** @import { Outcome, Scenario } from './round.js' */

export const PAGE = new URL('../../../docs/faults.md', import.meta.url);

/**
 * A scenario, as the command line has it.
 *
 * @param {Pick<Scenario, 'page' | 'nemeses' | 'job'>} scenario
 */
export function nameOf({ page, nemeses, job }) {
  const workload = job?.workload === undefined || job.workload === 'ticks' ? '' : ` --workload ${job.workload}`;
  const isMixed = nemeses.length > 1 && nemeses.join() === mixedOn(page).join();
  const strikes = isMixed ? MIXED : nemeses.join(',') || 'none';
  return `--provider ${page} --nemesis ${strikes}${workload}`;
}

/**
 * @param {readonly Outcome[]} outcomes
 * @param {{ seed: number, seconds: number, minutes: number, missing: readonly string[] }} run `missing`: what could not be played.
 */
export function writePage(outcomes, { seed, seconds, minutes, missing }) {
  const columns = Object.keys(pages);
  /** @type {Map<string, Map<string, Outcome[]>>} */
  const rows = new Map();
  for (const outcome of outcomes) {
    const title = titleOf(outcome.scenario);
    const row = rows.get(title) ?? new Map();
    rows.set(title, row);
    row.set(outcome.scenario.page, [...(row.get(outcome.scenario.page) ?? []), outcome]);
  }
  const table = [
    `| | ${columns.join(' | ')} |`,
    `|---|${columns.map(() => '---').join('|')}|`,
    ...[...rows].map(([title, row]) => `| ${title} | ${columns.map((column) => cell(row.get(column) ?? [])).join(' | ')} |`),
  ];
  const excluded = outcomes.flatMap(({ scenario, violations }) =>
    violations.flatMap(({ kind, excluded: words }) =>
      words === undefined ? [] : [{ page: scenario.page, title: titleOf(scenario), kind, words }],
    ),
  );
  const kinds = new Map(excluded.map((one) => [`${one.page} ${one.title} ${one.kind}`, one]));
  const broken = outcomes.flatMap(({ scenario, violations }) =>
    violations
      .filter(({ excluded: words }) => words === undefined)
      .map(({ kind, detail }) => `- \`${nameOf(scenario)} --seed ${scenario.seed}\`: ${kind}: ${detail}`),
  );
  const total = (/** @type {'faults' | 'ran' | 'asked'} */ key) =>
    outcomes.reduce((sum, { figures }) => sum + figures[key], 0).toLocaleString('en');
  const text = `# Under faults

This page is written by \`npm run faults -- --seconds ${seconds} --seed ${seed} --write\`. In each round three replicas work on the same
locks while faults happen to them, and a checker compares what they wrote down with [what is promised](guarantees.md).

**${outcomes.length} rounds in ${Math.round(minutes)} min, on ${cpus().length} processors (Linux ${release()}, Node.js ${process.versions.node}): ${total('faults')} faults, ${total('asked')} requests, ${total('ran')} runs, ${broken.length} promises broken.**

A cell has the runs, the faults, and the longest time from the end of a fault to the next run. † is the longest time from the death
of a holder to the next run of its lock, other faults in between included. Then come broken promises (**in bold**), and violations that
the guarantees exclude.

${table.join('\n')}

## Seen, and excluded by the guarantees

${[...kinds.values()].map(({ page, title, kind, words }) => `- *${page}*, ${title}: ${kind}. “${words}”`).join('\n') || 'Nothing in this run.'}
${missing.length === 0 ? '' : `\n## Not played\n\n${missing.map((line) => `- ${line}`).join('\n')}\n`}${broken.length === 0 ? '' : `\n## Broken\n\n${broken.join('\n')}\n`}
## Workloads

Each replica asks for an occurrence of each lock every 200 ms to 1 s, for jobs of 5 ms to 3 s, with each \`onBusy\`, one or two
attempts and leases of 1 s to 2 s. A handler asks its lease by \`checkpoint()\` or \`confirm()\` before each step, or listens to \`signal\`.
One replica is up to 200 ms late. *Mixed* draws one fault after the other from all that can be mixed. The seed decides every draw.
`;
  writeFileSync(PAGE, text);
}

/** @param {Outcome['scenario']} scenario */
function titleOf({ nemeses, job }) {
  const workload = job.workload === 'ticks' ? '' : `${job.workload}, `;
  if (nemeses.length === 0) return `${workload}no fault`;
  if (nemeses.length > 1) return `${workload}mixed`;
  return `${workload}${nemesisNamed(nemeses[0] ?? '').title}`;
}

/** @param {readonly Outcome[]} outcomes */
function cell(outcomes) {
  if (outcomes.length === 0) return '';
  const sum = (/** @type {'faults' | 'ran'} */ key) => outcomes.reduce((total, { figures }) => total + figures[key], 0);
  const worst = (/** @type {'worstRecoveryMs' | 'worstTakeOverMs'} */ key) => {
    const all = outcomes.flatMap(({ figures }) => figures[key] ?? []);
    return all.length === 0 ? undefined : `${(Math.max(...all) / 1_000).toFixed(1)} s`;
  };
  const [recovery, takeOver] = [worst('worstRecoveryMs'), worst('worstTakeOverMs')];
  const times = `${recovery === undefined ? '' : `, ${recovery}`}${takeOver === undefined ? '' : `, † ${takeOver}`}`;
  const found = outcomes.flatMap(({ violations }) => violations);
  const words = [...new Set(found.map(({ kind, excluded }) => (excluded === undefined ? `**${kind}**` : `${kind} (excluded)`)))];
  return `${sum('ran')} / ${sum('faults')}${times}${words.map((word) => `, ${word}`).join('')}`;
}
