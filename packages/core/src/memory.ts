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
  const { now = () => performance.timeOrigin + performance.now() } = options;
  const entries = new Map<string, Entry>();
  const waiters = new Map<string, Set<() => void>>();

  const isHeld = (entry: Entry | undefined, at: number): entry is Entry =>
    entry !== undefined && entry.held && at < entry.expiresAt;

  function tryNow(request: AcquireRequest): AcquireResult {
    const { name, owner, leaseMs, occurrence } = request;
    const at = now();
    const entry = entries.get(name);
    const held = isHeld(entry, at);
    const judged = occurrence && judgeOccurrence(entry?.occurrence, occurrence, at, held);
    if (held || (judged !== undefined && judged.verdict !== 'claim')) {
      const refusal = refusalOf(judged, held, recordOf(entry, at), at);
      if (refusal !== undefined) return refusal;
    }
    const attempt = judged?.verdict === 'claim' ? judged.attempt : 1;
    const fence = (entry?.fence ?? 0n) + 1n;
    const previous = entry?.occurrence;
    entries.set(name, {
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
      lastSuccessAt: entry?.lastSuccessAt,
      lastDurationMs: entry?.lastDurationMs,
      lastError: entry?.lastError,
      scheduleHash: occurrence?.scheduleHash ?? entry?.scheduleHash,
    });
    return { acquired: true, grant: { name, owner, fence, attempt, previous, previousScheduleHash: entry?.scheduleHash } };
  }

  function release(grant: Grant, outcome: Outcome): boolean {
    const entry = entries.get(grant.name);
    if (entry?.owner !== grant.owner) return false;
    if (!entry.held) return true;
    const at = now();
    entry.held = false;
    if (outcome.result === 'abandoned') {
      if (entry.claimed) entry.occurrence = entry.previous;
    } else {
      if (entry.claimed && entry.occurrence !== undefined) entry.occurrence = { ...entry.occurrence, state: outcome.result };
      entry.lastDurationMs = at - entry.acquiredAt;
      if (outcome.result === 'done') entry.lastSuccessAt = at;
      entry.lastError = outcome.result === 'failed' ? outcome.error : undefined;
    }
    for (const wake of waiters.get(grant.name) ?? []) wake();
    return true;
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

  return {
    kind: 'memory',
    guarantees,
    tryAcquire(request, signal) {
      signal.throwIfAborted();
      return tryNow(request);
    },
    renew(grant) {
      const entry = entries.get(grant.name);
      const at = now();
      if (entry?.owner !== grant.owner || !isHeld(entry, at)) return false;
      if (entry.leaseMs !== null) entry.expiresAt = at + entry.leaseMs;
      return true;
    },
    release,
    untilFree({ name }, signal) {
      return new Promise((resolve) => {
        if (signal.aborted || !isHeld(entries.get(name), now())) return resolve();
        const set = waiters.get(name) ?? new Set();
        waiters.set(name, set);
        const wake = (): void => {
          set.delete(wake);
          if (set.size === 0 && waiters.get(name) === set) waiters.delete(name);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        set.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    },
    async inspect(name, signal) {
      signal?.throwIfAborted();
      return recordOf(entries.get(name), now());
    },
    async *list(prefix = '', signal) {
      signal?.throwIfAborted();
      for (const entry of entries.values()) {
        const record = entry.name.startsWith(prefix) ? recordOf(entry, now()) : undefined;
        if (record === undefined) continue;
        yield record;
        signal?.throwIfAborted();
      }
    },
    // Nothing to let go of; the locks stay for the other solos that share this memory.
    close: async () => {},
  };
}
