import type { RunRecord } from './provider.ts';

/** How many runs of a name are kept. */
export const MOST_RUNS = 50;

/** The runs of a name with one more, the newest first. */
export function withRun(runs: readonly RunRecord[], run: RunRecord): readonly RunRecord[] {
  return [run, ...runs.slice(0, MOST_RUNS - 1)];
}
