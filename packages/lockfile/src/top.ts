import type { JobRecord, Pause } from '@solorun/core';
import type { Deadlines } from './deadlines.ts';
import type { Free } from './free-locks.ts';
import { isKnownDead } from './holder.ts';
import { jobRecord } from './job-record.ts';
import { generationKey, standingOf, type Standing } from './key.ts';
import { readRecord, type LockRecord } from './record.ts';
import type { FileStore, StoredFile } from './store.ts';
import { lostRecord } from './transitions.ts';

/** The highest generation of a lock, as it was read. */
export interface Top {
  readonly generation: bigint;
  /** The generation that it followed. */
  readonly base: bigint;
  readonly file: StoredFile;
  readonly record: LockRecord | undefined;
  /** The generation that wrote `record`: this one, or if its file cannot be read, the one below. */
  readonly writtenBy: bigint;
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

  async standing(key: string): Promise<Standing> {
    return standingOf(key, await this.#store.list(`${key}.`));
  }

  /** Whether this generation is the highest. */
  async isTop(key: string, generation: bigint): Promise<boolean> {
    return standingOf(key, await this.#store.list(`${key}.`)).generations.at(-1) === generation;
  }

  /** The highest generation. `moved`: it was replaced after it had been listed. */
  async read(key: string, known: readonly bigint[], now: number, guess?: Free): Promise<Top | 'moved' | undefined> {
    const generation = known.at(-1);
    if (generation === undefined) return undefined;
    const file = await this.#store.read(generationKey(key, generation));
    if (file === undefined) return 'moved';
    const record = file.body === guess?.body ? guess.record : readRecord(file.body);
    const base = record?.follows ?? generation - 1n;
    // Each named: to spread an object takes longer than to read the file from memory.
    if (record?.state === 'released') {
      return { generation, base, file, record, writtenBy: generation, expiresAt: undefined, over: true, readAt: now };
    }
    const leaseMs = record === undefined ? UNREADABLE_LEASE_MS : record.leaseMs;
    const expiresAt = this.#deadlines.endOf(file, leaseMs);
    const over =
      record === undefined
        ? now >= expiresAt && file.unlocked !== false
        : now >= expiresAt ||
          isKnownDead(record.proof, file, this.#store.proof) ||
          this.#deadlines.isOutlasted(key, generation, file, leaseMs, now);
    if (record !== undefined) return { generation, base, file, record, writtenBy: generation, expiresAt, over, readAt: now };
    const salvaged = await this.#salvage(key, known);
    return { generation, base, file, record: salvaged, writtenBy: known.at(-2) ?? generation, expiresAt, over, readAt: now };
  }

  /** The record that an unreadable file replaced: the generation below is kept until the one above is taken over. */
  async #salvage(key: string, known: readonly bigint[]): Promise<LockRecord | undefined> {
    const below = known.at(-2);
    const file = below === undefined ? undefined : await this.#store.read(generationKey(key, below));
    return file === undefined ? undefined : readRecord(file.body);
  }

  /** Whether the file of a top is what it was. The file of a run that is over is written by no process, but its time may move. */
  async isUnchanged(key: string, { generation, file, expiresAt }: Top): Promise<boolean> {
    const again = await this.#store.read(generationKey(key, generation));
    return again?.body === file.body && (expiresAt === undefined || again.modifiedAt === file.modifiedAt);
  }
}

/** What the next generation carries on of a top that is over. Undefined: nothing is known of the lock. */
export function carriedBy(top: Top | undefined): LockRecord | undefined {
  if (top?.record === undefined || top.record.closed === true) return undefined;
  // A dead holder may have died at any time before its lease ended.
  const lostAt = top.expiresAt !== undefined && top.readAt >= top.expiresAt ? top.expiresAt : undefined;
  return lostRecord(top.record, top.writtenBy, top.writtenBy === top.generation ? lostAt : undefined);
}

export function recordOf(top: Top | undefined, paused?: Pause): JobRecord | undefined {
  if (top?.record === undefined || top.record.closed === true) return undefined;
  const record = recordAt(top);
  return paused === undefined ? record : { ...record, paused };
}

function recordAt(top: Top): JobRecord {
  if (top.over || top.expiresAt === undefined) return jobRecord(carriedBy(top)!, top.generation, undefined, top.readAt);
  const expiresAt = top.expiresAt === Number.POSITIVE_INFINITY ? null : new Date(top.expiresAt);
  return jobRecord(top.record!, top.generation, expiresAt, top.readAt);
}
