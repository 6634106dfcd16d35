import type { Holder, Identity, OccurrenceState, RunOutcome, Schedule } from '@solorun/core';
import { readRuns, writeRuns, type KeptRun } from './runs.ts';
import type { Proof } from './store.ts';
import { iso, onOneLine, sameAsBefore, time } from './text.ts';

/** The content of a generation file. The generation itself, which is the fence, stands in the file's name. */
export interface LockRecord {
  readonly name: string;
  readonly state: 'held' | 'released';
  readonly owner: string;
  readonly holder: Identity;
  /** By the store's clock, in ms since the epoch; so are all times here. */
  readonly acquiredAt: number;
  readonly leaseMs: number | null;
  readonly proof: Proof;
  /** Whether this acquisition claimed `occurrence`. */
  readonly claimed: boolean;
  readonly occurrence: OccurrenceState | undefined;
  /** The `occurrence` before this one, to undo a claim whose handler never started. */
  readonly previous: OccurrenceState | undefined;
  readonly lastStartedAt: number | undefined;
  readonly lastSuccessAt: number | undefined;
  readonly lastDurationMs: number | undefined;
  readonly lastError: string | undefined;
  readonly scheduleHash: string | undefined;
  readonly schedule?: Schedule | undefined;
  readonly nextDueAt?: number | undefined;
  /** Undefined: written by a version that did not keep it. */
  readonly knownSince?: number | undefined;
  /** The last run that is over. */
  readonly last?: LastRun | undefined;
  /** This run is kept, although it claimed nothing. */
  readonly history?: true | undefined;
  /** The newest first. */
  readonly runs?: readonly KeptRun[] | undefined;
  /** The generation that this file has followed. @default the one below it by one */
  readonly follows?: bigint | undefined;
  /** The floor by which its row was started, until a process that holds the lock has confirmed it: see `proven`. */
  readonly start?: bigint | undefined;
  /** Held by a process that changes the record, and runs nothing. */
  readonly editing?: true | undefined;
  /** The lock was forgotten: nothing follows this file, and the next acquisition starts anew. */
  readonly closed?: true | undefined;
  /** Fields of a later version, which are handed on. */
  readonly others?: Readonly<Record<string, unknown>> | undefined;
}

interface LastRun {
  /** Undefined: it was lost, and nobody knows when. */
  readonly finishedAt: number | undefined;
  readonly outcome: RunOutcome;
  readonly by: Identity;
  readonly since: number;
}

/** The form of what is written. A later form must stay readable as far as `state`, `owner`, `leaseMs` and `occurrence` go. */
const FORMAT = 1;

/** JSON on several lines with readable times: `cat` is the first tool that people reach for. */
export function writeRecord(record: LockRecord): string {
  // Joined, and not added up: V8 would put off the work, and do it at each comparison.
  return [
    `{\n  "solorun": ${FORMAT},\n  "name": ${JSON.stringify(record.name)},\n  "state": "${record.state}"`,
    field('holder', sameAsBefore(record.holder)),
    field('acquiredAt', iso(record.acquiredAt)),
    field('leaseMs', String(record.leaseMs)),
    field('occurrence', onOneLine(record.occurrence)),
    field('nextDueAt', iso(record.nextDueAt)),
    field('schedule', record.schedule && sameAsBefore(record.schedule)),
    field('lastStartedAt', iso(record.lastStartedAt)),
    field('lastSuccessAt', iso(record.lastSuccessAt)),
    field('lastDurationMs', record.lastDurationMs),
    field('lastError', record.lastError === undefined ? undefined : JSON.stringify(record.lastError)),
    field('last', record.last && writeLast(record, record.last)),
    field('knownSince', iso(record.knownSince)),
    field('owner', JSON.stringify(record.owner)),
    field('claimed', String(record.claimed)),
    field('previous', onOneLine(record.previous)),
    field('scheduleHash', record.scheduleHash === undefined ? undefined : JSON.stringify(record.scheduleHash)),
    field('proof', sameAsBefore(record.proof)),
    field('follows', record.follows === undefined ? undefined : `"${record.follows}"`),
    field('start', record.start === undefined ? undefined : `"${record.start}"`),
    field('history', record.history),
    field('editing', record.editing),
    field('closed', record.closed),
    field('runs', record.runs && writeRuns(record.runs)),
    record.others === undefined ? '' : writeOthers(record.others),
    '\n}\n',
  ].join('');
}

function field(key: string, json: string | number | true | undefined): string {
  return json === undefined ? '' : `,\n  "${key}": ${json}`;
}

function writeOthers(others: Readonly<Record<string, unknown>>): string {
  return Object.keys(others)
    .map((key) => `,\n  ${JSON.stringify(key)}: ${JSON.stringify(others[key])}`)
    .join('');
}

/** Undefined: not a whole record, as a crash of the machine can leave it. @throws if it is a record of a later form. */
export function readRecord(body: string): LockRecord | undefined {
  let read: Record<string, unknown>;
  try {
    read = JSON.parse(body) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof read !== 'object' || read === null || typeof read['solorun'] !== 'number') return undefined;
  if (read['solorun'] > FORMAT) {
    throw new Error(
      `the lock file was written by a newer Solorun (format ${read['solorun']}, this one reads up to ${FORMAT}): upgrade this program`,
    );
  }
  const { name, state, owner, leaseMs, proof, schedule, lastDurationMs } = read as Partial<LockRecord>;
  if (typeof name !== 'string' || typeof owner !== 'string' || (state !== 'held' && state !== 'released')) return undefined;
  const holder = read['holder'] === undefined ? { host: 'unknown', pid: 0 } : (read['holder'] as Identity);
  const acquiredAt = time(read['acquiredAt']) ?? 0;
  return {
    name,
    state,
    owner,
    holder,
    acquiredAt,
    leaseMs: typeof leaseMs === 'number' ? leaseMs : null,
    proof: proof ?? { pid: 0 },
    claimed: read['claimed'] === true,
    occurrence: readOccurrence(read['occurrence']),
    previous: readOccurrence(read['previous']),
    lastStartedAt: time(read['lastStartedAt']),
    lastSuccessAt: time(read['lastSuccessAt']),
    lastDurationMs: typeof lastDurationMs === 'number' ? lastDurationMs : undefined,
    lastError: read['lastError'] as string | undefined,
    scheduleHash: read['scheduleHash'] as string | undefined,
    schedule,
    nextDueAt: time(read['nextDueAt']),
    knownSince: time(read['knownSince']),
    last: readLast(read['last'], holder, acquiredAt),
    history: read['history'] === true ? true : undefined,
    runs: readRuns(read['runs']),
    follows: readNumber(read['follows']),
    start: readNumber(read['start']),
    editing: read['editing'] === true ? true : undefined,
    closed: read['closed'] === true ? true : undefined,
    others: othersIn(read),
  };
}

/** The holder of this file is not named once more. */
function writeLast({ holder, acquiredAt }: LockRecord, last: LastRun): string {
  const at = last.finishedAt === undefined ? '' : ` "at": ${iso(last.finishedAt)},`;
  const own = last.by === holder && last.since === acquiredAt;
  return `{${at} "outcome": "${last.outcome}"${own ? '' : `, "since": ${iso(last.since)}, "by": ${sameAsBefore(last.by)}`} }`;
}

function readLast(value: unknown, holder: Identity, acquiredAt: number): LastRun | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { at, outcome, since, by } = value as { at: unknown; outcome: RunOutcome; since: unknown; by: Identity | undefined };
  if (outcome !== 'done' && outcome !== 'failed' && outcome !== 'lost') return undefined;
  const finishedAt = time(at);
  return by === undefined
    ? { finishedAt, outcome, by: holder, since: acquiredAt }
    : { finishedAt, outcome, by, since: time(since) ?? 0 };
}

function readOccurrence(value: unknown): OccurrenceState | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { at, state, attempt } = value as { at: unknown; state: OccurrenceState['state']; attempt: number };
  const ms = time(at);
  return ms === undefined ? undefined : { at: new Date(ms), state, attempt };
}

function readNumber(value: unknown): bigint | undefined {
  return typeof value === 'string' && /^[0-9]{1,18}$/.test(value) ? BigInt(value) : undefined;
}

const OWN = new Set(
  (
    'solorun name state holder acquiredAt leaseMs occurrence nextDueAt schedule lastStartedAt lastSuccessAt lastDurationMs lastError last ' +
    'knownSince owner claimed previous scheduleHash proof follows start history editing closed runs'
  ).split(' '),
);

function othersIn(read: Record<string, unknown>): Record<string, unknown> | undefined {
  let others: Record<string, unknown> | undefined;
  for (const key in read) {
    // A key such as __proto__ is a property like any other only where it is defined as one.
    if (!OWN.has(key)) Object.defineProperty((others ??= {}), key, { value: read[key], enumerable: true });
  }
  return others;
}

/** A holder as the contract has it. */
export function holderSince(by: Identity, since: number): Holder {
  return { ...by, since: new Date(since) };
}
