import type { Identity, RunOutcome, RunRecord } from '@solorun/core';
import { MOST_RUNS } from '@solorun/core/server';

/** A run as a lock file keeps it: an acquisition copies the runs, and makes nothing of them. Times are in ms since the epoch. */
export interface KeptRun {
  readonly fence: string;
  /** The scheduled time that it was for. */
  readonly for?: number;
  /** @default 1 */
  readonly attempt?: number;
  readonly from: number;
  /** How long it took, in ms. Undefined: it was lost, and nobody knows when. */
  readonly took?: number;
  readonly outcome: RunOutcome;
  readonly error?: string;
  readonly by: Identity;
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
  return `${error
    .slice(0, MOST_OF_AN_ERROR - 1)
    .toWellFormed()
    .replace(/\uFFFD$/, '')}…`;
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
    const line = lineOf(run);
    length += line.length;
    if (length > MOST_OF_RUNS) break;
    lines.push(line);
  }
  return `[\n    ${lines.join(',\n    ')}\n  ]`;
}

const runTexts = new WeakMap<KeptRun, string>();

function lineOf(run: KeptRun): string {
  let line = runTexts.get(run);
  if (line === undefined) runTexts.set(run, (line = JSON.stringify(run)));
  return line;
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

function runRecord({ fence, for: occurrence, attempt = 1, from, took, outcome, error, by }: KeptRun): RunRecord | undefined {
  if (typeof from !== 'number' || !/^[0-9]{1,18}$/.test(fence)) return undefined;
  return {
    fence: BigInt(fence),
    occurrence: occurrence === undefined ? undefined : new Date(occurrence),
    attempt,
    holder: by,
    startedAt: new Date(from),
    finishedAt: took === undefined ? undefined : new Date(from + took),
    outcome,
    error,
  };
}
