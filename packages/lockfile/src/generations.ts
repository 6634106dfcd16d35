import type { AcquireRequest, AcquireResult, Grant, JobRecord, OccurrenceVerdict, Outcome, Refusal } from '@solorun/core';
import { judgeOccurrence } from '@solorun/core';
import { refusalOf } from '@solorun/core/server';
import { careFor, type Durable } from './care.ts';
import { Deadlines } from './deadlines.ts';
import { FreeLocks } from './free-locks.ts';
import { recordIn, type GenerationGrant } from './grant.ts';
import { generationKey } from './key.ts';
import { writeRecord, type LockRecord } from './record.ts';
import { Records } from './records.ts';
import type { Care, FileStore, StoredFile } from './store.ts';
import { Succession } from './succession.ts';
import { recordOf, Tops, type Top } from './top.ts';
import { nextRecord, releasedRecord } from './transitions.ts';

/*
 * The algorithm, over any store that can create a file exclusively and list consistently.
 *
 * A lock is a row of files `<key>.<generation>.lock`. The highest generation is the lock's record: held, or released. To acquire
 * is to create the next generation; its number is the fence. Nothing is ever locked by deleting, and the highest file is never
 * deleted, so a process that was paused anywhere can only ever touch a generation that is dead already:
 *
 *  1. Ask the store's clock, then list, then read the highest generation g. In this order: a lease that is renewed after the
 *     clock was asked cannot look expired.
 *     A process that released g itself, or has just seen it free, need not list: a list may be as old as it likes, step 3 lists
 *     again. But only to try; a refusal comes from a list.
 *  2. If g is released, expired by that clock, or its holder is known to be dead, create g+1 exclusively, with its whole content.
 *  3. List again: if a higher generation exists, if g is gone, or if an expired g has changed, another process was faster, or the
 *     holder is alive. Likewise if step 2 failed and g+1 stands all the same: it may be visible long before a disk has taken it.
 *     Withdraw, for g+1 was granted to nobody: remove it if something stands above it, else release it with what g says by now. Removed
 *     while it is the highest, its number would be given again, and a process that had seen it expired and was paused in step 2
 *     would put g+2 above a g+1 that it has never seen, whose holder may be well.
 *  4. Remove what lies below g, lowest first. g itself stays until g+2 is taken, so a process that was paused in step 2 with an
 *     older list finds its own g gone, even from a listing that is not atomic. A process that made g−1 itself, and finds nothing below
 *     it, may turn it into g+1 instead (write, link, unlink): a file that has one name more for a moment costs less than a new one and
 *     a removed one.
 *
 * A renewal writes the file again, which moves its modification time, and counts only if no higher generation exists afterwards. A
 * lease that is over by the store's clock is not renewed, see `Deadlines.isSpent`: the name was free, and step 1 has shown it as free.
 * A release writes it as released. Both touch one's own generation only. A reader of a release that is under way may get anything, as
 * long as there is no occurrence in it; see `careFor`.
 */

export interface GenerationsOptions {
  readonly store: FileStore;
  /** The key of a lock's files. */
  readonly keyOf: (name: string) => string;
  readonly durable: Durable;
  /** May veto taking over from a holder that is expired or dead. */
  readonly onStale?: ((record: JobRecord) => boolean | Promise<boolean>) | undefined;
  /** Goes into every grant. */
  readonly lost?: AbortSignal | undefined;
}

/** Lost races before a try says that the lock is held, by the processes that win them. */
const ROUNDS = 8;

/** A waiter for a lock whose takeover was vetoed asks again after this long, in ms. */
const ASK_AGAIN_MS = 1_000;

export class Generations {
  readonly #store: FileStore;
  readonly #keyOf: (name: string) => string;
  readonly #durable: Durable;
  readonly #onStale: GenerationsOptions['onStale'];
  readonly #lost: AbortSignal | undefined;
  readonly #deadlines: Deadlines;
  readonly #tops: Tops;
  readonly #succession: Succession;
  readonly #records: Records;
  readonly #free = new FreeLocks();
  /** By key: until when a veto stands, by this process's clock. */
  readonly #vetoed = new Map<string, number>();
  /** By owner: releases that are being flushed. */
  readonly #flushing = new Map<string, { readonly own: string; readonly answer: Promise<boolean> }>();

  constructor({ store, keyOf, durable, onStale, lost }: GenerationsOptions) {
    this.#store = store;
    this.#keyOf = keyOf;
    this.#durable = durable;
    this.#onStale = onStale;
    this.#lost = lost;
    this.#deadlines = new Deadlines(store);
    this.#tops = new Tops(store, this.#deadlines);
    this.#succession = new Succession(store, this.#tops, durable);
    this.#records = new Records(store, this.#tops);
  }

  async tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const key = this.#keyOf(request.name);
    let remembered = this.#free.take(key);
    let seen: Top | undefined;
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      const now = await this.#store.now();
      const guess = remembered;
      remembered = undefined;
      const known = guess === undefined ? await this.#tops.generations(key) : [guess.generation];
      const top = await this.#tops.read(key, known, now, guess);
      // The memory may be out of date: it is good for a try, which step 3 judges, and for no other answer.
      if (top === 'moved' || (guess !== undefined && top?.expiresAt !== undefined)) continue;
      seen = top;
      const held = top !== undefined && !top.over;
      const judged = request.occurrence && judgeOccurrence(top?.record?.occurrence, request.occurrence, now, held);
      const refusal = refuse(top, held, judged, now);
      if (refusal !== undefined && guess !== undefined) continue;
      if (refusal !== undefined) return refusal;
      if (top?.expiresAt !== undefined && !(await this.#mayTakeOver(top))) {
        this.#vetoed.set(key, performance.now() + ASK_AGAIN_MS);
        return heldOnTop(top);
      }
      this.#vetoed.delete(key);

      const attempt = judged?.verdict === 'claim' ? judged.attempt : 1;
      const grant = this.#grantAbove(top, request, attempt, now);
      // Only if what stands is what was remembered: a directory may have been emptied, and grown anew.
      const spare = top?.record === guess?.record ? guess?.below : undefined;
      const standing = await this.#succession.take(key, grant, top, spare, signal);
      if (standing !== undefined) {
        const below = (await this.#succession.cleanUp(key, standing.slice(0, -2))) ? top?.generation : undefined;
        const granted: GenerationGrant = { ...grant, below };
        return { acquired: true, grant: granted };
      }
    }
    return heldOnTop(seen);
  }

  async #mayTakeOver(top: Top): Promise<boolean> {
    const record = this.#onStale && recordOf(top);
    return record === undefined || (await this.#onStale!(record));
  }

  #grantAbove(top: Top | undefined, request: AcquireRequest, attempt: number, now: number): GenerationGrant {
    const { name, owner } = request;
    const record = nextRecord(request, top?.record, attempt, now, this.#store.proof);
    const written = { at: performance.now() };
    return {
      name,
      owner,
      fence: (top?.generation ?? 0n) + 1n,
      attempt,
      previous: record.previous,
      previousScheduleHash: top?.record?.scheduleHash,
      lost: this.#lost,
      record,
      body: writeRecord(record),
      written,
    };
  }

  /** Only the process that acquired a lease renews it, with what it wrote then. */
  async renew(grant: Grant): Promise<boolean> {
    const { body, written } = grant as Partial<GenerationGrant>;
    if (body === undefined || written === undefined) return false;
    const key = this.#keyOf(grant.name);
    const own = generationKey(key, grant.fence);
    const calledAt = performance.now();
    const file = await this.#store.read(own);
    const record = recordIn(file, grant);
    const renewed =
      file !== undefined &&
      record?.state === 'held' &&
      // Asked last, so that little time lies between the answer and the write. No other process moves the time of this file.
      !this.#deadlines.isSpent(file, record, written.at, await this.#store.now()) &&
      (await this.#store.write(own, body, 'whole')) &&
      (await this.#tops.generations(key)).at(-1) === grant.fence;
    if (renewed) written.at = calledAt;
    else await this.#store.letGo(own, body);
    return renewed;
  }

  async release(grant: Grant, outcome: Outcome): Promise<boolean> {
    const key = this.#keyOf(grant.name);
    const own = generationKey(key, grant.fence);
    // A caller that did not want to wait for the flush comes again, and a second one would take as long.
    const before = this.#flushing.get(grant.owner);
    if (before?.own === own) return before.answer;
    const now = await this.#store.now();
    const file = await this.#store.read(own);
    const record = recordIn(file, grant);
    // Listed before the write: a generation that comes after it is the next holder's, in due form.
    if (file === undefined || record === undefined || (await this.#tops.generations(key)).at(-1) !== grant.fence) {
      const { body } = grant as Partial<GenerationGrant>;
      if (body !== undefined) await this.#store.letGo(own, body);
      return false;
    }
    const care = careFor(this.#durable, record, outcome);
    // The first release counts, and a second one is quiet; but the first one may have failed to reach the disk.
    if (record.state === 'released') return care !== 'durable' || this.#store.write(own, file.body, 'durable');
    const answer = this.#writeReleased(grant, file, record, releasedRecord(record, outcome, now), care);
    if (care !== 'durable') return answer;
    this.#flushing.set(grant.owner, { own, answer });
    return answer.finally(() => this.#flushing.delete(grant.owner));
  }

  /** @param file with `record`, as it was read before */
  async #writeReleased(grant: Grant, file: StoredFile, record: LockRecord, after: LockRecord, care: Care): Promise<boolean> {
    const key = this.#keyOf(grant.name);
    const body = writeRecord(after);
    if (!(await this.#store.write(generationKey(key, grant.fence), body, care))) return false;
    // A process that took over before it was written goes by what stood there.
    const mayBeOver = this.#deadlines.mayBeOver(file, record, await this.#store.now());
    if (mayBeOver && (await this.#tops.generations(key)).at(-1) !== grant.fence) {
      throw new Error('the lease ended before the release was written, and somebody who may not have seen it has followed');
    }
    this.#free.remember(key, {
      generation: grant.fence,
      below: (grant as Partial<GenerationGrant>).below,
      body,
      record: after,
    });
    return true;
  }

  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    return this.#records.inspect(this.#keyOf(name), signal);
  }

  list(prefix: string, signal?: AbortSignal): AsyncIterable<JobRecord> {
    return this.#records.list(prefix, signal);
  }

  /** Whether a try is worth making, and whether polling would show that the holder has died. */
  async poll(name: string): Promise<{ readonly free: boolean; readonly deathIsVisible: boolean }> {
    const key = this.#keyOf(name);
    const now = await this.#store.now();
    const top = await this.#tops.read(key, await this.#tops.generations(key), now);
    if (top === 'moved') return { free: true, deathIsVisible: false };
    if (top !== undefined && top.expiresAt === undefined) this.#free.remember(key, { generation: top.generation });
    const isVetoed = performance.now() < (this.#vetoed.get(key) ?? 0);
    const { bootId } = this.#store.proof;
    const deathIsVisible = bootId !== undefined && top?.record?.proof.bootId === bootId;
    return { free: top === undefined || (top.over && !isVetoed), deathIsVisible };
  }
}

/** The record is made for a refusal alone: most tries are granted. */
function refuse(top: Top | undefined, held: boolean, judged: OccurrenceVerdict | undefined, now: number): Refusal | undefined {
  if (!held && (judged === undefined || judged.verdict === 'claim')) return undefined;
  // A file that cannot be read has an end, and no record.
  const expiresInMs = top === undefined || !Number.isFinite(top.expiresAt) ? undefined : top.expiresAt! - now;
  return refusalOf(judged, held, recordOf(top), now, expiresInMs);
}

/** A top that is not followed although it is over: its takeover was vetoed, or others have won each race. */
function heldOnTop(top: Top | undefined): Refusal {
  const record = recordOf(top);
  return { acquired: false, reason: 'held', holder: record?.holder, record };
}
