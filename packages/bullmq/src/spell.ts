import type { IQueueBackend, Job } from 'bullmq';

/** What BullMQ keeps of a job, here and in the process of a sandboxed processor. */
export type Kept = Pick<Job, 'id' | 'attemptsStarted' | 'attemptsMade' | 'stalledCounter' | 'queueQualifiedName'>;

/** A time in which a job is put off again and again, and is not run in between. */
export interface Spell {
  /** How often it found its lock busy, the last time included. */
  readonly tries: number;
  /** When it was put off first, in ms since the epoch, by the clock of the worker that put it off. */
  readonly since: number;
  /** Of the last try: which start of the job it was, and how often the job had failed and stalled by then. */
  readonly start: number;
  readonly failures: number;
  readonly stalls: number;
}

/** What a line of ours in a job's log says: its spell goes on, its occurrence lies ahead, or (`over`) what was before is over. */
export type Line = { readonly spell: Spell } | { readonly until: number } | 'over';

/** Nobody else has a job's log to themselves, so lines of others may stand after ours. */
const LOOK_BACK = 20;
/** How many jobs the process of a sandboxed processor remembers. */
const REMEMBERED = 1_000;

const OVER = ' (the count starts anew)';
const spellLine = / \(try (\d+) since (\S+Z), start (\d+), failures (\d+), stalls (\d+)\)$/;
const untilLine = /: put off until (\S+Z) \(the count starts anew\)$/;

/** The end of a line that `readLine` understands. */
export function writeLine(line: Line): string {
  if (line === 'over') return OVER;
  if ('until' in line) return `: put off until ${new Date(line.until).toISOString()}${OVER}`;
  const { tries, since, start, failures, stalls } = line.spell;
  return ` (try ${tries} since ${new Date(since).toISOString()}, start ${start}, failures ${failures}, stalls ${stalls})`;
}

/** Undefined: the line is not one of ours. */
export function readLine(text: string): Line | undefined {
  const until = untilLine.exec(text);
  if (until !== null) return { until: Date.parse(until[1]!) };
  if (text.endsWith(OVER)) return 'over';
  const found = spellLine.exec(text);
  if (found === null) return undefined;
  const [tries, start, failures, stalls] = [1, 3, 4, 5].map((at) => Number(found[at])) as [number, number, number, number];
  return { spell: { tries, since: Date.parse(found[2]!), start, failures, stalls } };
}

/** Whether this try is to have a line in the log: a line each time would fill the log of a job that waits for a day. */
export const isWorthALine = (tries: number): boolean => Number.isInteger(Math.log2(tries));

/**
 * The job's spell, with this try.
 *
 * BullMQ counts each start of a job, whatever comes of it. So a spell goes on only if all starts since its last line can have been
 * tries of it: the job has neither failed nor stalled since, and no later line of the spell would be due by now.
 *
 * @param each whether each try has its line; else one of a power of two has.
 */
export function spellWith(job: Kept, last: Spell | undefined, each: boolean, now: number = Date.now()): Spell {
  const { attemptsStarted: start, attemptsMade: failures, stalledCounter: stalls } = job;
  const begins = { tries: 1, since: now, start, failures, stalls };
  if (last === undefined || last.failures !== failures || last.stalls !== stalls) return begins;
  const tries = last.tries + start - last.start;
  const next = each ? last.tries + 1 : 2 ** (Math.floor(Math.log2(last.tries)) + 1);
  return tries > last.tries && tries <= next ? { ...begins, tries, since: last.since } : begins;
}

const remembered = new Map<string, Line>();
const keyOf = (job: Kept): string => `${job.queueQualifiedName} ${job.id ?? ''}`;

type Logs = Pick<IQueueBackend, 'getJobLogs'>;

/** BullMQ's server, which a job keeps for itself; none in the process of a sandboxed processor. */
function logsOf(job: object): Logs | undefined {
  const { queue } = job as { readonly queue?: { readonly backend?: Partial<Logs> } };
  return typeof queue?.backend?.getJobLogs === 'function' ? (queue.backend as Logs) : undefined;
}

/** Whether what is written to the job's log can be read here, and so outlives this process. */
export const hasLogs = (job: Kept): boolean => logsOf(job) !== undefined;

/** Our last line about the job: from its log, or what this process remembers of it where there is no reading it. */
export async function lastLine(job: Kept): Promise<Line | undefined> {
  // At its first start a job has been put off by nobody.
  if (job.attemptsStarted < 2) return undefined;
  const backend = logsOf(job);
  if (backend === undefined) return remembered.get(keyOf(job));
  const { logs } = await backend.getJobLogs(job.id!, 0, LOOK_BACK - 1, false);
  for (const text of logs) {
    const line = readLine(text);
    if (line !== undefined) return line;
  }
  return undefined;
}

/** For where the log cannot be read. */
export function remember(job: Kept, line: Line): void {
  const key = keyOf(job);
  remembered.delete(key);
  if (line === 'over' || hasLogs(job)) return;
  remembered.set(key, line);
  for (const oldest of remembered.keys()) {
    if (remembered.size <= REMEMBERED) return;
    remembered.delete(oldest);
  }
}
