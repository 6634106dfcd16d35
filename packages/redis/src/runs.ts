import type { Identity, JobRecord, RunOutcome, RunRecord } from '@solorun/core';
import { dateOf, holderOf, type Fields } from './fields.ts';

type LastRun = Pick<JobRecord, 'lastFinishedAt' | 'lastOutcome' | 'lastRunBy'>;

/** The last run that is over. */
export function lastRunOf({ since, until, by, ran, ranby, ok, took, error }: Fields, nowUs: number): LastRun {
  if (by !== undefined && until !== undefined && Number(until) <= nowUs) return lastRun('lost', until, by, since);
  const [outcome, began, tookThen, lostAt] = ran?.split(' ') ?? [];
  if (outcome !== undefined && tookThen === (took ?? '-')) {
    const ended = outcome === 'lost' ? lostAt : String(Number(began) + Number(took));
    return lastRun(outcome as RunOutcome, ended, ranby, began);
  }
  if (took === undefined) return {};
  // The version before this one has released it, and told no more than this.
  return error === undefined ? lastRun('done', ok) : lastRun('failed');
}

/** @param ended in µs, as the record has it; '-' where nobody knows */
function lastRun(outcome: RunOutcome, ended = '-', by?: string, began?: string): LastRun {
  return {
    lastOutcome: outcome,
    lastFinishedAt: ended === '-' ? undefined : dateOf(Number(ended)),
    lastRunBy: by === undefined ? undefined : holderOf(by, Number(began)),
  };
}

/** A run as its hash keeps it. Times are in µs, the occurrence is in ms. */
interface Kept {
  readonly fence: number;
  readonly since: number;
  readonly ended: number | null;
  readonly outcome: RunOutcome;
  readonly at: number | null;
  readonly attempt: number;
  readonly by: Identity;
  readonly error: string | null;
}

/** The runs that are kept, the newest first: a slot is written anew when all are taken, so the fences tell their order. */
export function runsOf(texts: readonly (string | null)[], limit: number): readonly RunRecord[] {
  return texts
    .flatMap((text) => (text === null ? [] : [JSON.parse(text) as Kept]))
    .sort((one, other) => other.fence - one.fence)
    .slice(0, limit)
    .map(runOf);
}

function runOf({ fence, since, ended, outcome, at, attempt, by, error }: Kept): RunRecord {
  return {
    fence: BigInt(fence),
    occurrence: at === null ? undefined : new Date(at),
    attempt,
    holder: by,
    startedAt: dateOf(since),
    finishedAt: ended === null ? undefined : dateOf(ended),
    outcome,
    error: error ?? undefined,
  };
}
