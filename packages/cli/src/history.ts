import type { RunRecord } from '@solorun/core';
import { withStore } from './asked-store.ts';
import { duration } from './duration.ts';
import { exits } from './exit.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { holderOf, named, plain, shortened } from './show.ts';
import { tableOf } from './table.ts';

const columns = [
  { head: 'STARTED' },
  { head: 'OCCURRENCE', optional: true },
  { head: 'ATTEMPT', optional: true },
  { head: 'OUTCOME' },
  { head: 'TOOK' },
  { head: 'HOLDER' },
  { head: 'FENCE' },
  { head: 'ERROR', optional: true },
];

/** `solorun history NAME`: the last runs, the newest first. */
export async function history(asked: Asked, voice: Voice): Promise<number> {
  const { name } = asked as { name: string };
  const { runs, isKnown } = await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const found = await solo.runs(name);
    return { runs: found, isKnown: found.length > 0 || (await solo.inspect(name)) !== undefined };
  });
  if (asked.options['json'] === true) print(JSON.stringify(runs.map(asJson), null, 2));
  else if (runs.length > 0) print(await tableOf(columns, runs.map(cells)));
  if (runs.length > 0) return 0;
  if (isKnown) voice.error(`no run of ${named(name)} was kept: runs are with a schedule, or with --history (history: true)`);
  else voice.error(`nobody has ever locked ${named(name)} here`);
  return exits.unsafe.status;
}

function cells({ startedAt, finishedAt, occurrence, attempt, outcome, holder, fence, error }: RunRecord): string[] {
  return [
    startedAt.toISOString(),
    occurrence?.toISOString() ?? '',
    occurrence === undefined ? '' : String(attempt),
    outcome,
    finishedAt === undefined ? '' : duration(Math.max(0, finishedAt.getTime() - startedAt.getTime())),
    shortened(holderOf(holder), 40),
    String(fence),
    error === undefined ? '' : shortened(plain(error), 80),
  ];
}

/** Fences may exceed the numbers that readers of JSON know, so they are strings. */
function asJson(run: RunRecord): object {
  return { ...run, fence: String(run.fence) };
}
