import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome } from '@solorun/core';

/** An acquisition of a session lock, as it goes into the table. */
export interface Acquisition {
  readonly name: string;
  readonly key: string;
  readonly fence: bigint;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | undefined;
  /** The server's process that holds it. */
  readonly backend: number;
  readonly lease: number | null;
}

/**
 * Writes down who holds which session lock and how the runs went. The lock alone keeps others out, so nobody waits for that: it is
 * written a moment later, many at once, and what has changed again by then is written once.
 */
export interface Ledger {
  begun(acquisition: Acquisition): void;
  over(name: string, owner: string, outcome: Outcome): void;
  /** Resolves when all that was told by now has been written, or could not be. */
  written(): Promise<void>;
  /** Writes what is left, if it can be done by then, and nothing afterwards. */
  close(limit: Promise<unknown>): Promise<void>;
}

/** What was told may be written this much later, in ms: many short runs of a name cost one statement. */
export const LAG_MS = 20;
/** Between tries of what cannot be written, in ms. */
const TROUBLE_MS = 1_000;
/** In one statement. */
const MOST = 500;
/** While nothing can be written, the oldest are forgotten. */
const KEPT = 10_000;

interface Entry extends Acquisition {
  readonly since: number;
  held: boolean;
  /** How the last run that ended went; that may be the one before this acquisition. */
  last: { result: 'done' | 'failed'; error: string | undefined; duration: number; at: number } | undefined;
  dirty: boolean;
}

/** @param write tells which of the rows, by their places, are still to be written */
export function createLedger(
  write: (rows: readonly object[]) => Promise<readonly number[]>,
  onTrouble: (message: string) => void,
): Ledger {
  const entries = new Map<string, Entry>();
  let waiting = 0;
  let writing: Promise<void> | undefined;
  let wroteAt = Number.NEGATIVE_INFINITY;
  let pauseMs = 0;
  let troubled = false;
  let closed = false;

  function mark(entry: Entry): void {
    if (!entry.dirty) waiting += 1;
    entry.dirty = true;
    if (waiting > KEPT) forgetOldest();
    if (writing === undefined && !closed) writing = later();
  }

  function forgetOldest(): void {
    for (const [name, entry] of entries) {
      if (!entry.dirty || entry.held) continue;
      entries.delete(name);
      waiting -= 1;
      return;
    }
  }

  async function later(): Promise<void> {
    const waitMs = waiting >= MOST && pauseMs === 0 ? 0 : wroteAt + LAG_MS + pauseMs - performance.now();
    await (waitMs <= 0 ? new Promise(setImmediate) : sleep(waitMs));
    await turn();
    writing = waiting > 0 && !closed ? later() : undefined;
  }

  async function turn(): Promise<void> {
    const now = performance.now();
    wroteAt = now;
    const batch: Entry[] = [];
    for (const entry of entries.values()) {
      if (!entry.dirty) continue;
      entry.dirty = false;
      waiting -= 1;
      batch.push(entry);
      if (batch.length === MOST) break;
    }
    let left: readonly Entry[] = batch;
    try {
      const undone = await write(batch.map((entry) => rowOf(entry, now)));
      left = undone.map((index) => batch[index]!);
      pauseMs = 0;
      troubled = false;
    } catch (error) {
      pauseMs = TROUBLE_MS;
      if (!troubled) onTrouble(error instanceof Error ? error.message : String(error));
      troubled = true;
    }
    for (const entry of batch) if (!entry.held && !entry.dirty && !left.includes(entry)) forget(entry);
    for (const entry of left) if (!entry.dirty && entries.get(entry.name) === entry) remark(entry);
  }

  function remark(entry: Entry): void {
    entry.dirty = true;
    waiting += 1;
  }

  function forget(entry: Entry): void {
    if (entries.get(entry.name) === entry) entries.delete(entry.name);
  }

  /** What cannot be written now is not waited for. */
  async function emptied(): Promise<void> {
    if (writing === undefined || pauseMs > 0) return;
    await writing;
    await emptied();
  }

  return {
    begun(acquisition) {
      const before = entries.get(acquisition.name);
      if (before?.dirty === true) waiting -= 1;
      const entry: Entry = {
        ...acquisition,
        since: performance.now(),
        held: true,
        // Written or not: writing it twice changes nothing.
        last: before?.last,
        dirty: false,
      };
      entries.set(acquisition.name, entry);
      mark(entry);
    },
    over(name, owner, outcome) {
      const entry = entries.get(name);
      if (entry?.owner !== owner) return;
      entry.held = false;
      if (outcome.result !== 'abandoned') {
        const at = performance.now();
        const error = outcome.result === 'failed' ? outcome.error : undefined;
        entry.last = { result: outcome.result, error, duration: at - entry.since, at };
      }
      mark(entry);
    },
    async written() {
      await writing;
    },
    async close(limit) {
      await Promise.race([emptied(), limit]);
      closed = true;
    },
  };
}

function rowOf(entry: Entry, now: number): object {
  const { name, key, owner, host, pid, label, backend, lease, held, last } = entry;
  return {
    ...{ name, key, fence: String(entry.fence), owner, host, pid, label, backend, lease, held, age: now - entry.since },
    ...{ result: last?.result, error: last?.error, duration: last?.duration, ended: last && now - last.at },
  };
}
