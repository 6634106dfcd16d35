import type { IQueueBackend, Job } from 'bullmq';

/** The fields of a job that are there also in the process of a sandboxed processor. */
export type Kept = Pick<Job, 'id' | 'attemptsStarted' | 'attemptsMade' | 'stalledCounter' | 'queueQualifiedName'>;

/** A time in which a job is put off again and again, and is not run in between. */
export interface Spell {
  /** How often it found its lock busy, the last time included. */
  readonly tries: number;
  /** When it was put off first, in ms since the epoch, by the clock of the worker that put it off. */
  readonly since: number;
  /** At the last try: the number of starts of the job, and how often it had failed and stalled by then. */
  readonly start: number;
  readonly failures: number;
  readonly stalls: number;
}

/** A line of ours in a job's log: its spell goes on, its occurrence lies ahead, or (`over`) the count starts anew. */
export type Line = { readonly spell: Spell } | { readonly until: number } | 'over';

/** Lines that others wrote to the job's log may stand after ours, so many lines are read. */
const LOOK_BACK = 20;
/** How many jobs the process of a sandboxed processor remembers. */
const REMEMBERED = 1_000;

const OVER = ' (the count starts anew)';
const spellLine = / \(try (\d+) since (\S+Z), start (\d+), failures (\d+), stalls (\d+)\)$/;
const untilLine = /: put off until (\S+Z) \(the count starts anew\)$/;

/** The end of a line. `readLine` reads it back. */
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
 * @param each whether each try has its line; if not, tries whose number is a power of two have one.
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

/** BullMQ's server, a private field of a job. Undefined in the process of a sandboxed processor. */
function logsOf(job: object): Logs | undefined {
  const { queue } = job as { readonly queue?: { readonly backend?: Partial<Logs> } };
  return typeof queue?.backend?.getJobLogs === 'function' ? (queue.backend as Logs) : undefined;
}

/** Whether the job's log can be read here. A count that is kept there outlives this process. */
export const hasLogs = (job: Kept): boolean => logsOf(job) !== undefined;

/** Our last line about the job: from its log, or from the memory of this process where the log cannot be read. */
export async function lastLine(job: Kept): Promise<Line | undefined> {
  // At its first start a job has never been put off.
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

/** Keeps the line for `lastLine` where the log cannot be read. */
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
