import { bindVerbs } from './bind-verbs.ts';
import { judgeOccurrence } from './occurrence.ts';
import type {
  AcquireRequest,
  AcquireResult,
  Grant,
  Guarantees,
  Holder,
  JobRecord,
  LockProvider,
  OccurrenceState,
  Outcome,
} from './provider.ts';
import { refusalOf } from './refusal.ts';

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
  scheduleHash: string | undefined;
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
    if (held || (judged !== undefined && judged.verdict !== 'claim')) {
      const refusal = refusalOf(judged, held, recordOf(entry, at), at);
      if (refusal !== undefined) return refusal;
    }
    return this.#grant(request, entry, judged?.verdict === 'claim' ? judged.attempt : 1, at);
  }

  /** @param before the entry of the last acquisition of the name */
  #grant(request: AcquireRequest, before: Entry | undefined, attempt: number, at: number): AcquireResult {
    const { name, owner, leaseMs, occurrence } = request;
    const fence = (before?.fence ?? 0n) + 1n;
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
      scheduleHash: occurrence?.scheduleHash ?? before?.scheduleHash,
    });
    return { acquired: true, grant: { name, owner, fence, attempt, previous, previousScheduleHash: before?.scheduleHash } };
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
    return recordOf(this.#entries.get(name), this.#now());
  }

  async *list(prefix = '', signal?: AbortSignal): AsyncGenerator<JobRecord> {
    signal?.throwIfAborted();
    for (const entry of this.#entries.values()) {
      const record = entry.name.startsWith(prefix) ? recordOf(entry, this.#now()) : undefined;
      if (record === undefined) continue;
      yield record;
      signal?.throwIfAborted();
    }
  }

  /** There is no connection to end; the locks stay for the other solos that share this memory. */
  async close(): Promise<void> {}
}

function isHeld(entry: Entry | undefined, at: number): entry is Entry {
  return entry !== undefined && entry.held && at < entry.expiresAt;
}

function end(entry: Entry, outcome: Outcome, at: number): void {
  entry.held = false;
  if (outcome.result === 'abandoned') {
    if (entry.claimed) entry.occurrence = entry.previous;
    return;
  }
  if (entry.claimed && entry.occurrence !== undefined) entry.occurrence = { ...entry.occurrence, state: outcome.result };
  entry.lastDurationMs = at - entry.acquiredAt;
  if (outcome.result === 'done') entry.lastSuccessAt = at;
  entry.lastError = outcome.result === 'failed' ? outcome.error : undefined;
}

function recordOf(entry: Entry | undefined, at: number): JobRecord | undefined {
  if (entry === undefined) return undefined;
  const held = isHeld(entry, at);
  const { name, owner, holder, fence, occurrence, lastDurationMs, lastError, scheduleHash } = entry;
  return {
    readAt: new Date(at),
    name,
    held,
    owner,
    holder,
    fence,
    acquiredAt: new Date(entry.acquiredAt),
    expiresAt: held ? (entry.leaseMs === null ? null : new Date(entry.expiresAt)) : undefined,
    occurrence,
    lastStartedAt: new Date(entry.lastStartedAt),
    lastSuccessAt: entry.lastSuccessAt === undefined ? undefined : new Date(entry.lastSuccessAt),
    lastDurationMs,
    lastError,
    scheduleHash,
  };
}
