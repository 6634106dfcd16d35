import type { Identity, JobRecord, OccurrenceState } from '@solorun/core';
import type { Proof } from './store.ts';

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
}

/** The form of what is written. A later form must stay readable as far as `state`, `owner`, `leaseMs` and `occurrence` go. */
const FORMAT = 1;

/** JSON on several lines with readable times: `cat` is the first tool that people reach for. */
export function writeRecord(record: LockRecord): string {
  const lines: string[] = [];
  const put = (key: string, json: string | undefined): void => {
    if (json !== undefined) lines.push(`  "${key}": ${json}`);
  };
  put('solorun', String(FORMAT));
  put('name', JSON.stringify(record.name));
  put('state', JSON.stringify(record.state));
  put('holder', sameAsBefore(record.holder));
  put('acquiredAt', iso(record.acquiredAt));
  put('leaseMs', JSON.stringify(record.leaseMs));
  put('occurrence', onOneLine(record.occurrence));
  put('lastStartedAt', iso(record.lastStartedAt));
  put('lastSuccessAt', iso(record.lastSuccessAt));
  put('lastDurationMs', JSON.stringify(record.lastDurationMs));
  put('lastError', JSON.stringify(record.lastError));
  put('owner', JSON.stringify(record.owner));
  put('claimed', JSON.stringify(record.claimed));
  put('previous', onOneLine(record.previous));
  put('scheduleHash', JSON.stringify(record.scheduleHash));
  put('proof', sameAsBefore(record.proof));
  return `{\n${lines.join(',\n')}\n}\n`;
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
  const { name, state, owner, holder, leaseMs, proof } = read as Partial<LockRecord>;
  if (typeof name !== 'string' || typeof owner !== 'string' || (state !== 'held' && state !== 'released')) return undefined;
  return {
    name,
    state,
    owner,
    holder: holder ?? { host: 'unknown', pid: 0 },
    acquiredAt: time(read['acquiredAt']) ?? 0,
    leaseMs: typeof leaseMs === 'number' ? leaseMs : null,
    proof: proof ?? { pid: 0 },
    claimed: read['claimed'] === true,
    occurrence: readOccurrence(read['occurrence']),
    previous: readOccurrence(read['previous']),
    lastStartedAt: time(read['lastStartedAt']),
    lastSuccessAt: time(read['lastSuccessAt']),
    lastDurationMs: read['lastDurationMs'] as number | undefined,
    lastError: read['lastError'] as string | undefined,
    scheduleHash: read['scheduleHash'] as string | undefined,
  };
}

/** The record as the contract has it. `expiresAt`: undefined when the lock is not held. */
export function jobRecord(record: LockRecord, fence: bigint, expiresAt: Date | null | undefined, readAt: number): JobRecord {
  return {
    readAt: new Date(readAt),
    name: record.name,
    held: expiresAt !== undefined,
    owner: record.owner,
    holder: { ...record.holder, since: new Date(record.acquiredAt) },
    fence,
    acquiredAt: new Date(record.acquiredAt),
    expiresAt,
    occurrence: record.occurrence,
    lastStartedAt: record.lastStartedAt === undefined ? undefined : new Date(record.lastStartedAt),
    lastSuccessAt: record.lastSuccessAt === undefined ? undefined : new Date(record.lastSuccessAt),
    lastDurationMs: record.lastDurationMs,
    lastError: record.lastError,
    scheduleHash: record.scheduleHash,
  };
}

function onOneLine(value: object | undefined): string | undefined {
  return value && JSON.stringify(value, undefined, 1).replaceAll(/\n */g, ' ');
}

/** A process describes itself by the same object, and so by the same text, each time. */
function sameAsBefore(value: object): string | undefined {
  let text = texts.get(value);
  if (text === undefined) texts.set(value, (text = onOneLine(value)!));
  return text;
}

const texts = new WeakMap<object, string>();

/** A record repeats most moments of the one before it. */
const moments = new Map<number, string>();

function iso(ms: number | undefined): string | undefined {
  if (ms === undefined) return undefined;
  let text = moments.get(ms);
  if (text === undefined) {
    if (moments.size >= 64) moments.clear();
    moments.set(ms, (text = `"${new Date(ms).toISOString()}"`));
  }
  return text;
}

function time(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function readOccurrence(value: unknown): OccurrenceState | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { at, state, attempt } = value as { at: unknown; state: OccurrenceState['state']; attempt: number };
  const ms = time(at);
  return ms === undefined ? undefined : { at: new Date(ms), state, attempt };
}
