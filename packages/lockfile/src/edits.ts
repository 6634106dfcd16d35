import { randomUUID } from 'node:crypto';
import type { ForgetTerms, OccurrenceState } from '@solorun/core';
import { isUntouched } from '@solorun/core/server';
import type { Durable } from './care.ts';
import type { Floor } from './floor.ts';
import type { GenerationGrant } from './grant.ts';
import { generationKey, type Standing } from './key.ts';
import type { Pauses } from './pauses.ts';
import { writeRecord, type LockRecord } from './record.ts';
import type { FileStore } from './store.ts';
import type { Succession } from './succession.ts';
import { carriedBy, recordOf, type Top, type Tops } from './top.ts';
import { proven } from './transitions.ts';
import { numberOf, startOf, type Ways } from './ways.ts';

/** A process that dies while it changes a record keeps the lock for so long at most, in ms. */
const LEASE_MS = 10_000;

/** Changes of hands in a row after which the lock counts as held, by the processes that win them. */
const ROUNDS = 8;

/** What the algorithm consists of, see generations.ts. */
export interface Parts {
  readonly store: FileStore;
  readonly durable: Durable;
  readonly tops: Tops;
  readonly ways: Ways;
  readonly floor: Floor;
  readonly pauses: Pauses;
  readonly succession: Succession;
  /** Whether a top that is over although it was not released may be followed. */
  readonly mayTakeOver: (top: Top) => Promise<boolean>;
}

/** A generation that a process has acquired to change the record. */
interface Edit {
  readonly fence: bigint;
  /** As the run before left it. */
  readonly record: LockRecord;
  /** The generations that stand below it. */
  readonly below: readonly bigint[];
}

/**
 * Changes of records of which nothing runs. A lock is acquired for each, like for a run: two changes cannot cross, and neither can a
 * change and a run.
 */
export class Edits {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async reopen(key: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    const edit = await this.#begin(key, signal, ({ record }) => record?.occurrence !== undefined);
    if (edit === undefined) return undefined;
    const occurrence: OccurrenceState = { ...edit.record.occurrence!, state: 'reopened' };
    const counts = await this.#end(key, edit, { ...edit.record, occurrence }, this.#parts.durable(true));
    if (counts || (await this.#wasTakenUp(key, occurrence))) return occurrence;
    throw new Error('the record was changed by another process meanwhile: try again');
  }

  /** A process that waits is woken by what is written, and may follow at once. Its record shows whether it has seen the change. */
  async #wasTakenUp(key: string, { at, attempt }: OccurrenceState): Promise<boolean> {
    const { store, tops } = this.#parts;
    const top = await tops.read(key, (await tops.standing(key)).generations, await store.now());
    if (top === undefined || top === 'moved') return false;
    const { previous, occurrence } = top.record ?? {};
    const shows = (each: OccurrenceState | undefined): boolean =>
      each?.at.getTime() === at.getTime() && (each.state === 'reopened' || each.attempt > attempt);
    return shows(previous) || shows(occurrence);
  }

  /**
   * The record goes by being closed: from then on nothing follows the top, and a process that acquires the lock starts anew, above the
   * floor. So it does no harm when the files are removed, however late.
   */
  async forget(key: string, { untouchedForMs }: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    const { store, floor, pauses } = this.#parts;
    const edit = await this.#begin(key, signal, ({ top, now, standing }) =>
      this.#isForgettable(key, top, standing, now, untouchedForMs),
    );
    if (edit === undefined) return false;
    // Another process has followed, or started anew: the name is used, and what is left of its record is for that one to remove.
    if (!(await this.#end(key, edit, closedRecord(edit.record), false))) return false;
    await floor.atLeast(edit.fence);
    for (const generation of [...edit.below, edit.fence]) await store.remove(generationKey(key, generation));
    const now = await store.now();
    const standing = (await this.#parts.tops.standing(key)).pauses;
    if (standing.length > 0 && (await pauses.inForce(key, standing, now)) === undefined) await pauses.sweep(key, standing);
    return true;
  }

  async #isForgettable(key: string, top: Top, { pauses }: Standing, now: number, untouchedForMs: number): Promise<boolean> {
    const record = recordOf(top, await this.#parts.pauses.inForce(key, pauses, now));
    // A file that cannot be read has no record, and is nobody's.
    return record !== undefined && isUntouched(record, untouchedForMs);
  }

  /** Steps 1 to 3. Undefined: the lock is held, or it is not as it should be. */
  async #begin(
    key: string,
    signal: AbortSignal,
    isRight: (seen: { top: Top; record: LockRecord | undefined; standing: Standing; now: number }) => boolean | Promise<boolean>,
  ): Promise<Edit | undefined> {
    const { store, tops, ways, mayTakeOver } = this.#parts;
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      const now = await store.now();
      const standing = await tops.standing(key);
      const top = await tops.read(key, standing.generations, now);
      if (top === 'moved') continue;
      const record = carriedBy(top);
      if (top === undefined || !top.over || record === undefined) return undefined;
      if (!(await isRight({ top, record, standing, now }))) return undefined;
      if (top.expiresAt !== undefined && !(await mayTakeOver(top))) return undefined;
      const way = await ways.of(key, standing, top);
      if (way === undefined) continue;
      const fence = numberOf(way, top);
      const follows = way.kind === 'anew' ? top.generation : undefined;
      const edited: LockRecord = { ...record, claimed: false, follows, start: startOf(way) };
      const grant = this.#grantOf(edited, fence);
      // A pause that comes now is no reason against the change: it holds for runs. `forget` leaves its file alone.
      const candidate = { key, grant, way, top, isDurable: false, spare: undefined, passes: 'any' } as const;
      if ((await this.#parts.succession.take(candidate, signal)) === undefined) continue;
      return { fence, record: edited, below: standing.generations };
    }
    return undefined;
  }

  #grantOf(record: LockRecord, fence: bigint): GenerationGrant {
    const { proof } = this.#parts.store;
    const owner = randomUUID();
    const held: LockRecord = { ...record, state: 'held', owner, proof, leaseMs: LEASE_MS, editing: true };
    return {
      name: record.name,
      owner,
      fence,
      attempt: 1,
      record: held,
      body: writeRecord(held),
      written: { at: 0 },
      below: undefined,
    };
  }

  /** Whether the change counts: a process that has found the lease over follows what stood there before, unless it sees the change. */
  async #end(key: string, { fence }: Edit, record: LockRecord, isDurable: boolean): Promise<boolean> {
    const { store, tops } = this.#parts;
    const body = writeRecord(proven(record, fence));
    return (await store.write(generationKey(key, fence), body, isDurable ? 'durable' : 'whole')) && tops.isTop(key, fence);
  }
}

/** Nothing of what was known. */
function closedRecord({ name, state, owner, holder, acquiredAt, leaseMs, proof, follows }: LockRecord): LockRecord {
  const nothing = { occurrence: undefined, previous: undefined, lastStartedAt: undefined, lastSuccessAt: undefined };
  const more = { lastDurationMs: undefined, lastError: undefined, scheduleHash: undefined, claimed: false, closed: true as const };
  return { name, state, owner, holder, acquiredAt, leaseMs, proof, follows, ...nothing, ...more };
}
