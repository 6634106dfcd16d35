import { bindVerbs } from './bind-verbs.ts';
import { withRun } from './history.ts';
import { judgeOccurrence } from './occurrence.ts';
import { pauseInForce, pauseOf } from './pause.ts';
import type {
  AcquireRequest,
  AcquireResult,
  ForgetTerms,
  Grant,
  Guarantees,
  Holder,
  JobRecord,
  LockProvider,
  NamedPause,
  OccurrenceState,
  Outcome,
  Pause,
  PauseTerms,
  RunOutcome,
  RunRecord,
  Schedule,
} from './provider.ts';
import { refusalOf } from './refusal.ts';
import { isUntouched } from './retention.ts';

export interface MemoryOptions {
  /** The provider's clock, in ms since the epoch. For tests. @default the time of day when the process started, and monotonic since */
  readonly now?: () => number;
}

interface Entry {
  name: string;
  owner: string;
  holder: Holder;
  fence: bigint;
  acquiredAt: number;
  held: boolean;
  leaseMs: number | null;
  expiresAt: number;
  /** Whether the current acquisition claimed `occurrence`. */
  claimed: boolean;
  occurrence: OccurrenceState | undefined;
  previous: OccurrenceState | undefined;
  lastStartedAt: number;
  lastSuccessAt: number | undefined;
  lastDurationMs: number | undefined;
  lastError: string | undefined;
  lastRun: LastRun | undefined;
  scheduleHash: string | undefined;
  schedule: Schedule | undefined;
  nextDueAt: Date | undefined;
  knownSince: number;
  /** The current run is to be kept. */
  history: boolean;
  runs: readonly RunRecord[];
}

interface LastRun {
  readonly finishedAt: number;
  readonly outcome: RunOutcome;
  readonly by: Holder;
}

const guarantees: Guarantees = Object.freeze({
  clock: 'process',
  reach: 'process',
  expiry: true,
  unbounded: true,
  crash: 'at once',
  fence: 'process',
  occurrences: true,
  wakeUp: 'push',
  minLeaseMs: 1,
  caveats: Object.freeze(['Other processes are not kept apart: every process has its own memory.']),
});

/**
 * Locks in this process's memory: for tests, and for programs that only ever run once. Several solos that are given the same
 * provider exclude each other, so a test can play a fleet.
 *
 * @example
 * const solo = createSolo({ provider: memory() });
 */
export function memory(options: MemoryOptions = {}): LockProvider {
  return bindVerbs(new MemoryProvider(options));
}

class MemoryProvider implements LockProvider {
  readonly kind = 'memory';
  readonly guarantees: Guarantees = guarantees;
  readonly forgetsSignals = true;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #pauses = new Map<string, Pause>();
  /** No fence is lower: names that were forgotten go on from here. */
  #fenceFloor = 0n;
  /** By name: each wakes one waiter. */
  readonly #waiters = new Map<string, Set<() => void>>();

  constructor({ now = () => performance.timeOrigin + performance.now() }: MemoryOptions) {
    this.#now = now;
  }

  tryAcquire(request: AcquireRequest, signal: AbortSignal): AcquireResult {
    signal.throwIfAborted();
    const { name, occurrence } = request;
    const at = this.#now();
    const entry = this.#entries.get(name);
    const held = isHeld(entry, at);
    const judged = occurrence && judgeOccurrence(entry?.occurrence, occurrence, at, held);
    const pause = request.ignorePause === true ? undefined : this.#pauseOf(name, at);
    if (held || pause !== undefined || (judged !== undefined && judged.verdict !== 'claim')) {
      const refusal = refusalOf(judged, held, this.#recordOf(entry, at), at, undefined, pause);
      if (refusal !== undefined) return refusal;
    }
    return this.#grant(request, entry, judged?.verdict === 'claim' ? judged.attempt : 1, at);
  }

  /** @param last the entry of the last acquisition of the name */
  #grant(request: AcquireRequest, last: Entry | undefined, attempt: number, at: number): AcquireResult {
    const { name, owner, leaseMs, occurrence, history = false } = request;
    const before = last && settled(last, at);
    const fence = (before?.fence ?? this.#fenceFloor) + 1n;
    const previous = before?.occurrence;
    this.#entries.set(name, {
      name,
      owner,
      holder: { ...request.holder, since: new Date(at) },
      fence,
      acquiredAt: at,
      held: true,
      leaseMs,
      expiresAt: leaseMs === null ? Number.POSITIVE_INFINITY : at + leaseMs,
      claimed: occurrence !== undefined,
      occurrence: occurrence === undefined ? previous : { at: occurrence.at, state: 'claimed', attempt },
      previous,
      lastStartedAt: at,
      lastSuccessAt: before?.lastSuccessAt,
      lastDurationMs: before?.lastDurationMs,
      lastError: before?.lastError,
      lastRun: before?.lastRun,
      scheduleHash: occurrence?.scheduleHash ?? before?.scheduleHash,
      schedule: occurrence?.schedule ?? before?.schedule,
      nextDueAt: occurrence === undefined ? before?.nextDueAt : occurrence.nextDueAt,
      knownSince: before?.knownSince ?? at,
      history: history || occurrence !== undefined,
      runs: before?.runs ?? [],
    });
    return {
      acquired: true,
      grant: {
        name,
        owner,
        fence,
        attempt,
        previous,
        previousScheduleHash: before?.scheduleHash,
        previousSchedule: before?.schedule,
        previousNextDueAt: before?.nextDueAt,
      },
    };
  }

  renew(grant: Grant): boolean {
    const entry = this.#entries.get(grant.name);
    const at = this.#now();
    if (entry?.owner !== grant.owner || !isHeld(entry, at)) return false;
    if (entry.leaseMs !== null) entry.expiresAt = at + entry.leaseMs;
    return true;
  }

  release(grant: Grant, outcome: Outcome): boolean {
    const entry = this.#entries.get(grant.name);
    if (entry?.owner !== grant.owner) return false;
    if (!entry.held) return true;
    end(entry, outcome, this.#now());
    for (const wake of this.#waiters.get(grant.name) ?? []) wake();
    return true;
  }

  untilFree({ name }: AcquireRequest, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || !isHeld(this.#entries.get(name), this.#now())) return resolve();
      const set = this.#waiters.get(name) ?? new Set();
      this.#waiters.set(name, set);
      const wake = (): void => {
        set.delete(wake);
        if (set.size === 0 && this.#waiters.get(name) === set) this.#waiters.delete(name);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      set.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  async inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    signal?.throwIfAborted();
    return this.#recordOf(this.#entries.get(name), this.#now());
  }

  async *list(prefix = '', signal?: AbortSignal): AsyncGenerator<JobRecord> {
    signal?.throwIfAborted();
    for (const entry of this.#entries.values()) {
      const record = entry.name.startsWith(prefix) ? this.#recordOf(entry, this.#now()) : undefined;
      if (record === undefined) continue;
      yield record;
      signal?.throwIfAborted();
    }
  }

  async pause(name: string, terms: PauseTerms): Promise<Pause> {
    const pause = pauseOf(terms, this.#now());
    this.#pauses.set(name, pause);
    return pause;
  }

  async resume(name: string): Promise<boolean> {
    const wasPaused = this.#pauseOf(name, this.#now()) !== undefined;
    this.#pauses.delete(name);
    return wasPaused;
  }

  async *pauses(prefix = '', signal?: AbortSignal): AsyncGenerator<NamedPause> {
    signal?.throwIfAborted();
    for (const name of this.#pauses.keys()) {
      const pause = name.startsWith(prefix) ? this.#pauseOf(name, this.#now()) : undefined;
      if (pause === undefined) continue;
      yield { name, ...pause };
      signal?.throwIfAborted();
    }
  }

  async runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    signal?.throwIfAborted();
    const entry = this.#entries.get(name);
    return entry === undefined ? [] : settled(entry, this.#now()).runs.slice(0, limit);
  }

  async reopen(name: string): Promise<OccurrenceState | undefined> {
    const at = this.#now();
    const last = this.#entries.get(name);
    const entry = last && settled(last, at);
    if (entry?.occurrence === undefined || entry.held) return undefined;
    const occurrence: OccurrenceState = { ...entry.occurrence, state: 'reopened' };
    this.#entries.set(name, { ...entry, occurrence });
    return occurrence;
  }

  async forget(name: string, { untouchedForMs }: ForgetTerms): Promise<boolean> {
    const entry = this.#entries.get(name);
    const record = this.#recordOf(entry, this.#now());
    if (entry === undefined || record === undefined || !isUntouched(record, untouchedForMs)) return false;
    if (entry.fence > this.#fenceFloor) this.#fenceFloor = entry.fence;
    return this.#entries.delete(name);
  }

  /** There is no connection to end; the locks stay for the other solos that share this memory. */
  async close(): Promise<void> {}

  #pauseOf(name: string, at: number): Pause | undefined {
    const pause = this.#pauses.get(name);
    if (pause === undefined) return undefined;
    const inForce = pauseInForce(pause, at);
    if (inForce === undefined) this.#pauses.delete(name);
    return inForce;
  }

  #recordOf(entry: Entry | undefined, at: number): JobRecord | undefined {
    return entry && { ...recordOf(entry, at), paused: this.#pauseOf(entry.name, at) };
  }
}

function isHeld(entry: Entry | undefined, at: number): entry is Entry {
  return entry !== undefined && entry.held && at < entry.expiresAt;
}

function end(entry: Entry, outcome: Outcome, at: number): void {
  entry.held = false;
  if (outcome.result === 'abandoned') {
    if (entry.claimed) undo(entry);
    return;
  }
  if (entry.claimed && entry.occurrence !== undefined) entry.occurrence = { ...entry.occurrence, state: outcome.result };
  entry.lastDurationMs = at - entry.acquiredAt;
  if (outcome.result === 'done') entry.lastSuccessAt = at;
  entry.lastError = outcome.result === 'failed' ? outcome.error : undefined;
  Object.assign(entry, overAt(entry, outcome.result, at));
}

/** Takes a claim back: its occurrence is what is due next, unless this was another attempt of one. */
function undo(entry: Entry): void {
  const { occurrence, previous, nextDueAt } = entry;
  if (nextDueAt !== undefined && occurrence?.at.getTime() !== previous?.at.getTime()) entry.nextDueAt = occurrence?.at;
  entry.occurrence = previous;
}

/** What the end of its run changes in an entry: who ran last, and its history. */
function overAt(entry: Entry, outcome: RunOutcome, at: number): Pick<Entry, 'lastRun' | 'runs'> {
  const { fence, claimed, occurrence, holder, acquiredAt, lastError, history } = entry;
  const lastRun = { finishedAt: at, outcome, by: holder };
  if (!history) return { lastRun, runs: entry.runs };
  const { since: _, ...by } = holder;
  const run: RunRecord = {
    fence,
    occurrence: claimed ? occurrence?.at : undefined,
    attempt: claimed ? (occurrence?.attempt ?? 1) : 1,
    holder: by,
    startedAt: new Date(acquiredAt),
    finishedAt: new Date(at),
    outcome,
    error: outcome === 'failed' ? lastError : undefined,
  };
  return { lastRun, runs: withRun(entry.runs, run) };
}

/** The entry as it is now: a run whose lease has ended without a word was lost. */
function settled(entry: Entry, at: number): Entry {
  if (!entry.held || at < entry.expiresAt) return entry;
  return { ...entry, held: false, ...overAt(entry, 'lost', entry.expiresAt) };
}

function recordOf(entry: Entry, at: number): JobRecord {
  const held = isHeld(entry, at);
  const { name, owner, holder, fence, occurrence, lastDurationMs, lastError, scheduleHash, schedule, nextDueAt, leaseMs } = entry;
  const { lastRun } = settled(entry, at);
  return {
    readAt: new Date(at),
    name,
    held,
    owner,
    holder,
    fence,
    acquiredAt: new Date(entry.acquiredAt),
    expiresAt: held ? (leaseMs === null ? null : new Date(entry.expiresAt)) : undefined,
    occurrence,
    lastStartedAt: new Date(entry.lastStartedAt),
    lastSuccessAt: entry.lastSuccessAt === undefined ? undefined : new Date(entry.lastSuccessAt),
    lastDurationMs,
    lastError,
    scheduleHash,
    schedule,
    nextDueAt,
    knownSince: new Date(entry.knownSince),
    lastFinishedAt: lastRun && new Date(lastRun.finishedAt),
    lastOutcome: lastRun?.outcome,
    lastRunBy: lastRun?.by,
    leaseMs,
  };
}
