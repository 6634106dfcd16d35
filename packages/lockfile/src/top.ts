import type { JobRecord } from '@solorun/core';
import type { Deadlines } from './deadlines.ts';
import type { Free } from './free-locks.ts';
import { isKnownDead } from './holder.ts';
import { generationKey, generationsOf } from './key.ts';
import { jobRecord, readRecord, type LockRecord } from './record.ts';
import type { FileStore, StoredFile } from './store.ts';

/** The highest generation of a lock, as it was read. */
export interface Top {
  readonly generation: bigint;
  readonly file: StoredFile;
  readonly record: LockRecord | undefined;
  /** Undefined: not held. `Infinity`: without expiry. */
  readonly expiresAt: number | undefined;
  /** The lock is free: it was released, its lease has ended, or its holder is known to be dead. */
  readonly over: boolean;
  /** The store's clock when it was read. */
  readonly readAt: number;
}

/** A file without a readable record (a machine crashed while it was written) counts as held for this long, in ms. */
const UNREADABLE_LEASE_MS = 60_000;

/** Step 1: lists the generations of a lock and reads the highest one. */
export class Tops {
  readonly #store: FileStore;
  readonly #deadlines: Deadlines;

  constructor(store: FileStore, deadlines: Deadlines) {
    this.#store = store;
    this.#deadlines = deadlines;
  }

  async generations(key: string): Promise<bigint[]> {
    return generationsOf(key, await this.#store.list(`${key}.`));
  }

  /** The highest generation. `moved`: it was replaced after it had been listed. */
  async read(key: string, known: readonly bigint[], now: number, guess?: Free): Promise<Top | 'moved' | undefined> {
    const generation = known.at(-1);
    if (generation === undefined) return undefined;
    const file = await this.#store.read(generationKey(key, generation));
    if (file === undefined) return 'moved';
    const record = file.body === guess?.body ? guess.record : readRecord(file.body);
    if (record?.state === 'released') return { generation, file, record, expiresAt: undefined, over: true, readAt: now };
    const leaseMs = record === undefined ? UNREADABLE_LEASE_MS : record.leaseMs;
    const expiresAt = this.#deadlines.endOf(file, leaseMs);
    const over =
      record === undefined
        ? now >= expiresAt && file.unlocked !== false
        : now >= expiresAt ||
          isKnownDead(record.proof, file, this.#store.proof) ||
          this.#deadlines.isOutlasted(key, generation, file, leaseMs, now);
    return { generation, file, record: record ?? (await this.#salvage(key, known)), expiresAt, over, readAt: now };
  }

  /** The record that an unreadable file replaced: the generation below is kept until the one above is taken over. */
  async #salvage(key: string, known: readonly bigint[]): Promise<LockRecord | undefined> {
    const below = known.at(-2);
    const file = below === undefined ? undefined : await this.#store.read(generationKey(key, below));
    return file === undefined ? undefined : readRecord(file.body);
  }
}

export function recordOf(top: Top | undefined): JobRecord | undefined {
  if (top?.record === undefined) return undefined;
  if (top.over || top.expiresAt === undefined) return jobRecord(top.record, top.generation, undefined, top.readAt);
  const expiresAt = top.expiresAt === Number.POSITIVE_INFINITY ? null : new Date(top.expiresAt);
  return jobRecord(top.record, top.generation, expiresAt, top.readAt);
}
