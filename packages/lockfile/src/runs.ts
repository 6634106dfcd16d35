import type { Identity, RunOutcome, RunRecord } from '@solorun/core';
import { MOST_RUNS } from '@solorun/core/server';
import { sameAsBefore, time } from './text.ts';

/** A run as a lock file keeps it: an acquisition copies the runs, and makes nothing of them. */
export interface KeptRun {
  readonly fence: string;
  /** The scheduled time that it was for. */
  readonly for?: string | undefined;
  readonly attempt: number;
  readonly by: Identity;
  readonly from: string;
  /** Undefined: it was lost, and nobody knows when. */
  readonly to?: string | undefined;
  readonly outcome: RunOutcome;
  readonly error?: string | undefined;
}

/** A file is written anew at each acquisition, so errors of old runs are kept short: in characters. */
const MOST_OF_AN_ERROR = 200;

/** A lock file has 64 KiB at most: with long labels of processes, fewer runs than 50 fit in. In characters. */
const MOST_OF_RUNS = 24 * 1024;

export function withKeptRun(runs: readonly KeptRun[] | undefined, run: KeptRun): readonly KeptRun[] {
  return [run, ...(runs ?? []).slice(0, MOST_RUNS - 1)];
}

export function shortened(error: string | undefined): string | undefined {
  if (error === undefined || error.length <= MOST_OF_AN_ERROR) return error;
  return `${error.slice(0, MOST_OF_AN_ERROR - 1).toWellFormed().replace(/\uFFFD$/, '')}…`;
}

const texts = new WeakMap<readonly KeptRun[], string>();

/** One run a line. An acquisition writes the runs that the release before it has written. */
export function writeRuns(runs: readonly KeptRun[]): string {
  let text = texts.get(runs);
  if (text === undefined) texts.set(runs, (text = linesOf(runs)));
  return text;
}

function linesOf(runs: readonly KeptRun[]): string {
  const lines: string[] = [];
  let length = 0;
  for (const run of runs) {
    const line = sameAsBefore(run);
    length += line.length;
    if (length > MOST_OF_RUNS) break;
    lines.push(line);
  }
  return `[\n    ${lines.join(',\n    ')}\n  ]`;
}

/** Runs that were kept, by this version or a later one. */
export function readRuns(value: unknown): readonly KeptRun[] | undefined {
  return Array.isArray(value) ? (value as KeptRun[]) : undefined;
}

/** The runs as the contract has them. What cannot be read is passed over. */
export function runRecords(runs: readonly KeptRun[], limit: number): readonly RunRecord[] {
  const found: RunRecord[] = [];
  for (const run of runs) {
    const record = found.length < limit ? runRecord(run) : undefined;
    if (record !== undefined) found.push(record);
  }
  return found;
}

function runRecord({ fence, for: occurrence, attempt, by, from, to, outcome, error }: KeptRun): RunRecord | undefined {
  const startedAt = time(from);
  if (startedAt === undefined || !/^[0-9]{1,18}$/.test(fence)) return undefined;
  return {
    fence: BigInt(fence),
    occurrence: dateOf(occurrence),
    attempt,
    holder: by,
    startedAt: new Date(startedAt),
    finishedAt: dateOf(to),
    outcome,
    error,
  };
}

function dateOf(text: string | undefined): Date | undefined {
  const ms = time(text);
  return ms === undefined ? undefined : new Date(ms);
}
