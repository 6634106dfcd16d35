import type {
  AcquireRequest,
  AcquireResult,
  ForgetTerms,
  Grant,
  JobRecord,
  NamedPause,
  OccurrenceState,
  OccurrenceVerdict,
  Outcome,
  Pause,
  PauseTerms,
  Refusal,
  RunRecord,
} from '@solorun/core';
import { judgeOccurrence } from '@solorun/core';
import { refusalOf } from '@solorun/core/server';
import type { Durable } from './care.ts';
import { Deadlines } from './deadlines.ts';
import { Edits } from './edits.ts';
import { Floor } from './floor.ts';
import { FreeLocks, type Free } from './free-locks.ts';
import type { GenerationGrant } from './grant.ts';
import { Holdings } from './holdings.ts';
import type { Standing } from './key.ts';
import { Pauses } from './pauses.ts';
import { writeRecord, type LockRecord } from './record.ts';
import { Records } from './records.ts';
import type { FileStore } from './store.ts';
import { careOf, Succession } from './succession.ts';
import { carriedBy, recordOf, Tops, type Top } from './top.ts';
import { nextRecord } from './transitions.ts';
import { numberOf, startOf, Ways, type Way } from './ways.ts';

/*
 * The algorithm, over any store that can create a file exclusively and list consistently.
 *
 * A lock is a row of files `<key>.<generation>.lock`. The highest generation is the lock's record: held, or released. To acquire
 * is to create the next generation; its number is the fence. Nothing is ever locked by deleting, and no number is given twice, so a
 * process that was paused anywhere can only ever touch a generation that is dead already:
 *
 *  1. Ask the store's clock, then list, then read the highest generation g. In this order: a lease that is renewed after the
 *     clock was asked cannot look expired.
 *     A process that released g itself, or has just seen it free, need not list: a list may be as old as it likes, step 3 lists
 *     again. But only to try; a refusal comes from a list.
 *  2. If g is released, expired by that clock, or its holder is known to be dead, create the next generation exclusively, with its whole
 *     content. Which number that is follows from what was seen, so processes that see the same create the same file:
 *     - g+1, if the base of g stands: the generation that g has followed.
 *     - Where nothing stands, a lock starts anew, one above the floor (floor.ts). The floor must have been known before the list was made.
 *     - The same where g has no base left. Then it may be a stray: of a process that was paused here, with an old list, while the lock was
 *       forgotten, and crashed. Its number may have been given before, but no number above the floor was. What g says is carried on.
 *     - A file that was made by the floor says which floor that was, and so do those that follow it, until a holder releases one whose base
 *       stands: then the row is proven. Up to there g+1 is right as long as the floor is the same, and else the lock starts anew.
 *  3. List again: if a higher generation exists, if g or its base is gone, or if an expired g has changed, another process was faster, or the
 *     holder is alive. One that starts by the floor also asks that nothing stands beside it but what it saw in step 1, and that
 *     the floor is as it was. Likewise if step 2 failed and the file stands all the same: it may be visible long before a disk has taken it.
 *     Withdraw, for it was granted to nobody. Remove it if something stands above it. Else release it with what g says by now: removed
 *     while it is the highest, its number would be given again, and a process that had seen it expired and was paused in step 2
 *     would put a file above one that it has never seen, whose holder may be well. Only a stray, below which nothing stands, is removed,
 *     and a start beside others, but not before the floor was raised to its number.
 *  4. Remove what lies below g, lowest first. g itself stays until its follower is followed, so a process that was paused in step 2 with an
 *     older list finds its own g gone, even from a listing that is not atomic. A process that made g−1 itself, and finds nothing below
 *     it, may turn it into g+1 instead (write, link, unlink): a file that has one name more for a moment costs less than a new one and
 *     a removed one.
 *
 * Why two that start by different floors exclude each other: the one with the lower floor has still seen it in step 3, so the higher floor
 * came after its file. The other one knew the higher floor before it made the list of step 1, so that list shows the file.
 *
 * To forget a lock is to acquire it, to write its generation as closed, to raise the floor to its number, and to remove all files, lowest
 * first. Nothing follows a closed generation, so it does not matter when, and by how many processes, they are removed.
 *
 * A pause is a file beside the generations. Step 1 reads it, and step 3 withdraws if there is one that step 1 has not seen. Step 3 always
 * lists, so no acquisition passes that was asked for when the file was there.
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
  /** The key of the floor of all these locks. */
  readonly floorKey: string;
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

const NEXT: Way = { kind: 'next' };

/** What step 1 has found. */
interface Seen {
  readonly now: number;
  readonly standing: Standing;
  readonly top: Top | undefined;
  /** What the next generation carries on. */
  readonly before: LockRecord | undefined;
}

export class Generations {
  readonly #store: FileStore;
  readonly #keyOf: (name: string) => string;
  readonly #durable: Durable;
  readonly #onStale: GenerationsOptions['onStale'];
  readonly #lost: AbortSignal | undefined;
  readonly #tops: Tops;
  readonly #ways: Ways;
  readonly #succession: Succession;
  readonly #records: Records;
  readonly #pauses: Pauses;
  readonly #edits: Edits;
  readonly #holdings: Holdings;
  readonly #free = new FreeLocks();
  /** By key: until when a veto stands, by this process's clock. */
  readonly #vetoed = new Map<string, number>();

  constructor({ store, keyOf, floorKey, durable, onStale, lost }: GenerationsOptions) {
    this.#store = store;
    this.#keyOf = keyOf;
    this.#durable = durable;
    this.#onStale = onStale;
    this.#lost = lost;
    const deadlines = new Deadlines(store);
    const tops = (this.#tops = new Tops(store, deadlines));
    const floor = new Floor(store, floorKey, durable(false));
    const ways = (this.#ways = new Ways(tops, floor));
    const succession = (this.#succession = new Succession(store, tops, floor, durable));
    const pauses = (this.#pauses = new Pauses(store, tops, durable(true)));
    this.#records = new Records(store, tops, pauses);
    this.#holdings = new Holdings(store, tops, deadlines, this.#free, durable);
    const mayTakeOver = (top: Top): Promise<boolean> => this.#mayTakeOver(top);
    this.#edits = new Edits({ store, durable, tops, ways, floor, pauses, succession, mayTakeOver });
  }

  async tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const key = this.#keyOf(request.name);
    let remembered = this.#free.take(key);
    let last: Top | undefined;
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      const guess = remembered;
      remembered = undefined;
      const now = await this.#store.now();
      const standing = guess === undefined ? await this.#tops.standing(key) : { generations: [guess.generation], pauses: [] };
      const top = await this.#tops.read(key, standing.generations, now, guess);
      if (top === 'moved') continue;
      const held = top !== undefined && !top.over;
      const before = held ? undefined : carriedBy(top);
      // The memory may be out of date: it is good for a try, which step 3 judges, and for no other answer.
      if (guess !== undefined && (top?.expiresAt !== undefined || before === undefined)) continue;
      last = top;
      const judged = request.occurrence && judgeOccurrence((held ? top.record : before)?.occurrence, request.occurrence, now, held);
      const isAsked = request.ignorePause !== true && standing.pauses.length > 0;
      const pause = isAsked ? await this.#pauses.inForce(key, standing.pauses, now) : undefined;
      const refusal = refuse(top, held, judged, now, pause);
      if (refusal !== undefined && guess !== undefined) continue;
      if (refusal !== undefined) return refusal;
      if (isAsked) await this.#pauses.sweep(key, standing.pauses);
      if (top?.expiresAt !== undefined && !(await this.#mayTakeOver(top))) {
        this.#vetoed.set(key, performance.now() + ASK_AGAIN_MS);
        return heldOnTop(top);
      }
      this.#vetoed.delete(key);

      const attempt = judged?.verdict === 'claim' ? judged.attempt : 1;
      const grant = await this.#acquire(key, request, { now, standing, top, before }, attempt, guess, signal);
      if (grant !== undefined) return { acquired: true, grant };
    }
    return heldOnTop(last);
  }

  /** Steps 2 to 4. Undefined: another process was faster, or the lock was paused. */
  async #acquire(
    key: string,
    request: AcquireRequest,
    { now, standing, top, before }: Seen,
    attempt: number,
    guess: Free | undefined,
    signal: AbortSignal,
  ): Promise<GenerationGrant | undefined> {
    const way: Way | undefined = guess === undefined ? await this.#ways.of(key, standing, top) : NEXT;
    if (way === undefined) return undefined;
    const followed = way.kind === 'anew' && top?.record?.closed === true ? undefined : top;
    const grant = this.#grantAbove(request, way, followed, before, attempt, now);
    const { isDurable, mayUseUp } = careOf(this.#durable, grant.record);
    // Only if what stands is what was remembered: a directory may have been emptied, and grown anew.
    const spare = mayUseUp && top?.record === guess?.record ? guess?.below : undefined;
    const passes = request.ignorePause === true ? ('any' as const) : standing.pauses.at(-1);
    const candidate = { key, grant, way, top: followed, isDurable, spare, passes };
    const needless = await this.#succession.take(candidate, signal);
    if (needless === undefined) return undefined;
    if (await this.#succession.cleanUp(key, needless)) grant.below = followed?.generation;
    return grant;
  }

  async #mayTakeOver(top: Top): Promise<boolean> {
    const record = this.#onStale && recordOf(top);
    return record === undefined || (await this.#onStale!(record));
  }

  #grantAbove(
    request: AcquireRequest,
    way: Way,
    top: Top | undefined,
    before: LockRecord | undefined,
    attempt: number,
    now: number,
  ): GenerationGrant {
    const { name, owner } = request;
    const follows = way.kind === 'anew' ? top?.generation : undefined;
    const record = nextRecord(request, before, attempt, now, this.#store.proof, follows, startOf(way));
    const written = { at: performance.now() };
    return {
      name,
      owner,
      fence: numberOf(way, top),
      attempt,
      previous: record.previous,
      previousScheduleHash: before?.scheduleHash,
      previousSchedule: before?.schedule,
      previousNextDueAt: before?.nextDueAt === undefined ? undefined : new Date(before.nextDueAt),
      lost: this.#lost,
      record,
      body: writeRecord(record),
      written,
      below: undefined,
    };
  }

  renew(grant: Grant): Promise<boolean> {
    return this.#holdings.renew(this.#keyOf(grant.name), grant);
  }

  release(grant: Grant, outcome: Outcome): Promise<boolean> {
    return this.#holdings.release(this.#keyOf(grant.name), grant, outcome);
  }

  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    return this.#records.inspect(this.#keyOf(name), signal);
  }

  list(prefix: string, signal?: AbortSignal): AsyncIterable<JobRecord> {
    return this.#records.list(prefix, signal);
  }

  runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    return this.#records.runs(this.#keyOf(name), limit, signal);
  }

  pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    return this.#pauses.pause(this.#keyOf(name), name, terms, signal);
  }

  resume(name: string, signal: AbortSignal): Promise<boolean> {
    return this.#pauses.resume(this.#keyOf(name), signal);
  }

  pauses(prefix: string, signal?: AbortSignal): AsyncIterable<NamedPause> {
    return this.#pauses.list(prefix, signal);
  }

  reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    return this.#edits.reopen(this.#keyOf(name), signal);
  }

  forget(name: string, terms: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    return this.#edits.forget(this.#keyOf(name), terms, signal);
  }

  /** Whether a try is worth making, and whether polling would show that the holder has died. */
  async poll(name: string): Promise<{ readonly free: boolean; readonly deathIsVisible: boolean }> {
    const key = this.#keyOf(name);
    const now = await this.#store.now();
    const { generations } = await this.#tops.standing(key);
    const top = await this.#tops.read(key, generations, now);
    if (top === 'moved') return { free: true, deathIsVisible: false };
    const isReleased = top !== undefined && top.expiresAt === undefined && top.record?.start === undefined;
    if (isReleased && generations.includes(top.base)) this.#free.remember(key, { generation: top.generation });
    const isVetoed = performance.now() < (this.#vetoed.get(key) ?? 0);
    const { bootId } = this.#store.proof;
    const deathIsVisible = bootId !== undefined && top?.record?.proof.bootId === bootId;
    return { free: top === undefined || (top.over && !isVetoed), deathIsVisible };
  }
}

/** The record is made for a refusal alone: most tries are granted. */
function refuse(
  top: Top | undefined,
  held: boolean,
  judged: OccurrenceVerdict | undefined,
  now: number,
  pause: Pause | undefined,
): Refusal | undefined {
  if (!held && pause === undefined && (judged === undefined || judged.verdict === 'claim')) return undefined;
  // A file that cannot be read has an end, and no record.
  const expiresInMs = top === undefined || !Number.isFinite(top.expiresAt) ? undefined : top.expiresAt! - now;
  return refusalOf(judged, held, recordOf(top, pause), now, expiresInMs, pause);
}

/** A top that is not followed although it is over: its takeover was vetoed, or others have won each race. */
function heldOnTop(top: Top | undefined): Refusal {
  const record = recordOf(top);
  return { acquired: false, reason: 'held', holder: record?.holder, record };
}
