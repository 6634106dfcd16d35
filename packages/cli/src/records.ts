import type { JobRecord, Pause, Schedule } from '@solorun/core';
import { withStore } from './asked-store.ts';
import { duration } from './duration.ts';
import { Ending, exits } from './exit.ts';
import { overdueMs } from './health.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { isLeftByDoctor } from './probe.ts';
import { pausedWords } from './run-words.ts';
import { holderOf, named, plain, shortened } from './show.ts';
import { tableOf } from './table.ts';

/** `solorun status`: a table of every lock. */
export async function status(asked: Asked, voice: Voice): Promise<number> {
  const records = await allRecords(asked, voice);
  if (asked.options['json'] === true) print(JSON.stringify(records.map(recordAsJson), null, 2));
  else if (records.length === 0) print('Nothing has been locked here yet.');
  else print(await table(records));
  return 0;
}

/** `solorun list`: the names alone. */
export async function list(asked: Asked, voice: Voice): Promise<number> {
  const all = await allRecords(asked, voice);
  const names = all.filter(({ held }) => held || asked.options['held'] !== true).map(({ name }) => name);
  if (asked.options['json'] === true) print(JSON.stringify(names, null, 2));
  else if (names.length > 0) print(names.map(plain).join('\n'));
  return 0;
}

/** `solorun inspect NAME`. */
export async function inspect(asked: Asked, voice: Voice): Promise<number> {
  const { name } = asked as { name: string };
  const record = await withStore(asked, { onWarning: voice.note }, ({ solo }) => solo.inspect(name));
  if (asked.options['json'] === true) print(JSON.stringify(record === undefined ? null : recordAsJson(record), null, 2));
  else if (record !== undefined) print(lines(record));
  if (record !== undefined) return 0;
  voice.error(`nobody has ever locked ${named(name)} here`);
  return exits.unsafe.status;
}

/** `solorun release NAME --fence N`: for a holder that does not release the lock itself. */
export async function release(asked: Asked, voice: Voice): Promise<number> {
  const { name } = asked as { name: string };
  const fenceText = String(asked.options['fence']);
  if (!/^\d{1,19}$/.test(fenceText))
    throw new Ending('usage', `--fence is a number, as inspect shows it, not ${JSON.stringify(plain(fenceText))}.`);
  const fence = BigInt(fenceText);
  return withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const record = await solo.inspect(name);
    const refusal = whyNot(record, name, fence);
    if (refusal === undefined && record !== undefined && (await solo.forceRelease(name, { fence }))) {
      if (asked.options['json'] === true) print(JSON.stringify({ released: true, name, fence: String(fence) }, null, 2));
      else
        print(
          `Released ${named(name)} (fence ${fence}), which ${holderOf(record.holder)} held. If it still runs, it is told at its next renewal.`,
        );
      return 0;
    }
    const why = refusal ?? `${named(name)} changed hands meanwhile: inspect it again`;
    if (asked.options['json'] === true) print(JSON.stringify({ released: false, name, fence: String(fence), why }, null, 2));
    voice.error(why);
    return exits.unsafe.status;
  });
}

function whyNot(record: JobRecord | undefined, name: string, fence: bigint): string | undefined {
  if (record === undefined) return `nobody has ever locked ${named(name)} here`;
  if (!record.held) return `${named(name)} is not held`;
  if (record.fence !== fence)
    return `${named(name)} is held under fence ${record.fence}, not ${fence}: it has changed hands since you looked`;
  return undefined;
}

async function allRecords(asked: Asked, voice: Voice): Promise<readonly JobRecord[]> {
  const records: JobRecord[] = [];
  await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    for await (const record of solo.list()) if (!isLeftByDoctor(record)) records.push(record);
  });
  return records.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A job is not called late for what is due at this very moment, in ms. */
const LATE_MS = 60_000;

/** One word for what matters most. */
function state(record: JobRecord): string {
  const { held, occurrence, lastError, lastOutcome, paused } = record;
  if (held) return 'running';
  if (paused !== undefined) return 'paused';
  if ((overdueMs(record) ?? 0) > LATE_MS) return 'late';
  if (occurrence?.state === 'claimed' || lastOutcome === 'lost') return 'crashed';
  return lastError === undefined ? 'idle' : 'failed';
}

function ago(record: JobRecord, then: Date | undefined): string {
  return then === undefined ? '' : `${duration(Math.max(0, record.readAt.getTime() - then.getTime()))} ago`;
}

function leaseEnds({ held, expiresAt, readAt }: JobRecord): string {
  if (!held || expiresAt === undefined) return '';
  return expiresAt === null ? 'with the process' : `in ${duration(Math.max(0, expiresAt.getTime() - readAt.getTime()))}`;
}

const columns = [
  { head: 'NAME' },
  { head: 'STATE' },
  { head: 'HOLDER' },
  { head: 'HELD FOR' },
  { head: 'LAST SUCCESS' },
  { head: 'TOOK' },
  { head: 'ATTEMPT' },
  { head: 'LEASE ENDS' },
  { head: 'DUE', optional: true },
  { head: 'PAUSED', optional: true },
];

function table(records: readonly JobRecord[]): Promise<string> {
  const rows = records.map((record) => {
    const { name, held, holder, acquiredAt, readAt, lastSuccessAt, lastDurationMs, occurrence, paused } = record;
    return [
      shortened(plain(name), 60),
      state(record),
      held ? shortened(holderOf(holder), 40) : '',
      held ? duration(Math.max(0, readAt.getTime() - acquiredAt.getTime())) : '',
      lastSuccessAt === undefined ? 'never' : ago(record, lastSuccessAt),
      lastDurationMs === undefined ? '' : duration(lastDurationMs),
      occurrence === undefined ? '' : String(occurrence.attempt),
      leaseEnds(record),
      due(record),
      paused === undefined ? '' : `${pauseLeft(record, paused)} by ${shortened(plain(paused.by), 30)}`,
    ];
  });
  return tableOf(columns, rows);
}

function due(record: JobRecord): string {
  const { nextDueAt, readAt } = record;
  if (nextDueAt === undefined) return '';
  const overdue = overdueMs(record);
  return overdue === undefined ? `in ${duration(nextDueAt.getTime() - readAt.getTime())}` : `${duration(overdue)} ago`;
}

function pauseLeft({ readAt }: JobRecord, { until }: Pause): string {
  return `for ${duration(until.getTime() - readAt.getTime())}`;
}

function scheduleWords(schedule: Schedule): string {
  if ('everyMs' in schedule) return `every ${duration(schedule.everyMs)}`;
  const { expression, timezone } = schedule;
  return plain(timezone === undefined ? expression : `${expression} (${timezone})`);
}

function lines(record: JobRecord): string {
  const { name, held, holder, fence, acquiredAt, readAt, occurrence, lastStartedAt, lastSuccessAt, lastDurationMs, lastError } =
    record;
  const { paused } = record;
  const about = (then: Date | undefined): string | undefined => then && `${then.toISOString()} (${ago(record, then)})`;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['name', plain(name)],
    ['state', state(record)],
    ['holder', `${holderOf(holder)}${held ? '' : ', no longer'}`],
    ['held for', held ? duration(Math.max(0, readAt.getTime() - acquiredAt.getTime())) : undefined],
    ['lease ends', leaseEnds(record) || undefined],
    ['fence', String(fence)],
    ['occurrence', occurrence && `${occurrence.at.toISOString()}, ${occurrence.state}, attempt ${occurrence.attempt}`],
    ['schedule', record.schedule && scheduleWords(record.schedule)],
    ['due', record.nextDueAt && `${record.nextDueAt.toISOString()} (${due(record)})`],
    ['paused', paused && `${pauseLeft(record, paused)}, until ${pausedWords(paused).slice('until '.length)}`],
    ['known since', about(record.knownSince)],
    ['last started', about(lastStartedAt)],
    ['last ended', record.lastOutcome && [record.lastOutcome, about(record.lastFinishedAt)].filter(Boolean).join(', ')],
    ['last run by', record.lastRunBy && holderOf(record.lastRunBy)],
    ['last success', about(lastSuccessAt) ?? 'never'],
    ['last took', lastDurationMs === undefined ? undefined : duration(lastDurationMs)],
    ['last error', lastError === undefined ? undefined : plain(lastError)],
  ];
  return rows.flatMap(([label, value]) => (value === undefined ? [] : [`${label.padEnd(13)} ${value}`])).join('\n');
}

/** Fences may exceed the numbers that readers of JSON know, so they are strings. */
function recordAsJson(record: JobRecord): object {
  return { ...record, state: state(record), fence: String(record.fence) };
}
