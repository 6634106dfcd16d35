import type { AcquireRequest, AcquireResult, Grant, JobRecord, OccurrenceState, OccurrenceVerdict, Outcome } from '@solorun/core';
import { judgeOccurrence } from '@solorun/core';
import { createOutlasted, unlessAborted } from '@solorun/core/server';
import { isKnownDead } from './holder.ts';
import { generationKey, generationsOf, locksAmong } from './key.ts';
import { jobRecord, readRecord, writeRecord, type LockRecord } from './record.ts';
import type { Care, FileStore, StoredFile } from './store.ts';

/*
 * The algorithm, over any store that can create a file exclusively and list consistently.
 *
 * A lock is a row of files `<key>.<generation>.lock`. The highest generation is the lock's record: held, or released. To acquire
 * is to create the next generation; its number is the fence. Nothing is ever locked by deleting, and the highest file is never
 * deleted, so a process that was paused anywhere can only ever touch a generation that is dead already:
 *
 *  1. Ask the store's clock, then list, then read the highest generation g. In this order: a lease that is renewed after the
 *     clock was asked cannot look expired.
 *     Who released g itself, or has just seen it free, need not list: a list may be as old as it likes, step 3 looks again. But only
 *     to try; a refusal comes from a list.
 *  2. If g is released, expired by that clock, or its holder is known to be dead, create g+1 exclusively, with its whole content.
 *  3. Look again: if a higher generation exists, if g is gone, or if an expired g has changed, somebody was faster or alive. Likewise
 *     if step 2 failed and g+1 stands all the same: it may be visible long before a disk has taken it.
 *     Withdraw, for nobody was told of g+1: remove it if something stands above it, else release it with what g says by now. Removed
 *     while it is the highest, its number would be given again, and whoever had seen it expired and was paused in step 2 would put
 *     g+2 above a g+1 that it has never seen, whose holder may be well.
 *  4. Remove what lies below g, lowest first. g itself stays until g+2 is taken, so whoever was paused in step 2 with an older
 *     list finds its own g gone, even from a listing that is not atomic. Who made g−1 itself, and finds nothing below it, may turn it
 *     into g+1 instead (write, link, unlink): a file that has one name more for a moment costs less than a new one and a removed one.
 *
 * A renewal writes the file again, which moves its modification time, and counts only if no higher generation exists afterwards. A
 * lease that is over by the store's clock is not renewed, see `isSpent`: the name was free, and step 1 has shown it as free.
 * A release writes it as released. Both touch one's own generation only. What is read of a release that is under way does not matter,
 * as long as there is no occurrence in it; see `careFor`.
 */

export interface GenerationsOptions {
  readonly store: FileStore;
  /** The key of a lock's files. */
  readonly keyOf: (name: string) => string;
  /** Whether what is written for this request must survive a crash of the machine. */
  readonly durable: (occurrence: boolean) => boolean;
  /** May veto taking over from a holder that is expired or dead. */
  readonly onStale?: ((record: JobRecord) => boolean | Promise<boolean>) | undefined;
  /** Goes into every grant. */
  readonly lost?: AbortSignal | undefined;
}

interface GenerationGrant extends Grant {
  readonly record: LockRecord;
  /** As written; a renewal writes it again. */
  readonly body: string;
  /** The last write that counted, by this process's clock: some moment before it. */
  readonly written: { at: number };
  /** The generation that it followed, if nothing stands below that. */
  readonly below?: bigint | undefined;
}

export interface Generations {
  tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult>;
  renew(grant: Grant): Promise<boolean>;
  release(grant: Grant, outcome: Outcome): Promise<boolean>;
  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined>;
  list(prefix: string, signal?: AbortSignal): AsyncIterable<JobRecord>;
  /** Whether a try is worth making, and whether a death of the holder would be noticed by looking. */
  look(name: string): Promise<{ readonly free: boolean; readonly deathIsVisible: boolean }>;
}

/** Lost races before a try says that the lock is held, by whoever keeps winning them. */
const ROUNDS = 8;

/** Whoever waits for a lock whose takeover was vetoed asks again after this long, in ms. */
const ASK_AGAIN_MS = 1_000;

/** A file without a readable record (a machine crashed while it was written) counts as held for this long, in ms. */
const UNREADABLE_LEASE_MS = 60_000;

/** Locks of which it is known what stood there last: a program may have any number of them. */
const MOST_REMEMBERED = 1_000;

interface Free {
  readonly generation: bigint;
  /** The one below, if that was the lowest of all. */
  readonly below?: bigint | undefined;
  /** What was written there, and stands there unless somebody else had to do with the lock. */
  readonly body?: string | undefined;
  readonly record?: LockRecord | undefined;
}

interface Top {
  readonly generation: bigint;
  readonly file: StoredFile;
  readonly record: LockRecord | undefined;
  /** Undefined: not held. `Infinity`: without expiry. */
  readonly expiresAt: number | undefined;
  readonly over: boolean;
  /** The store's clock when it was read. */
  readonly readAt: number;
}

interface Listed {
  readonly generations: readonly bigint[];
  readonly now: number;
}

export function createGenerations({ store, keyOf, durable, onStale, lost }: GenerationsOptions): Generations {
  /** By key: files from the future. */
  const outlasted = createOutlasted();
  /** By key: until when a veto stands, by this process's clock. */
  const vetoed = new Map<string, number>();
  /** By key: what stood highest, and was free, when this process last had to do with the lock. */
  const lastFree = new Map<string, Free>();
  /** By owner: releases that are being flushed. */
  const flushing = new Map<string, { readonly own: string; readonly answer: Promise<boolean> }>();

  async function generations(key: string): Promise<bigint[]> {
    return generationsOf(key, await store.list(`${key}.`));
  }

  /** The highest generation. `moved`: it was replaced while we looked. */
  async function readTop(key: string, known: readonly bigint[], now: number, guess?: Free): Promise<Top | 'moved' | undefined> {
    const generation = known.at(-1);
    if (generation === undefined) return undefined;
    const file = await store.read(generationKey(key, generation));
    if (file === undefined) return 'moved';
    const record = file.body === guess?.body ? guess.record : readRecord(file.body);
    if (record?.state === 'released') return { generation, file, record, expiresAt: undefined, over: true, readAt: now };
    const leaseMs = record === undefined ? UNREADABLE_LEASE_MS : record.leaseMs;
    const expiresAt = endOf(file, leaseMs);
    const over =
      record === undefined
        ? now >= expiresAt && file.unlocked !== false
        : now >= expiresAt || isKnownDead(record.proof, file, store.proof) || isOutlasted(key, generation, file, leaseMs, now);
    return { generation, file, record: record ?? (await salvage(key, known)), expiresAt, over, readAt: now };
  }

  /**
   * A modification time in the future: the store's clock was set back, and says nothing of this lease. A process that has seen the file
   * unchanged for a whole lease, by a clock of its own, knows that the lease was not renewed.
   */
  function isOutlasted(key: string, generation: bigint, file: StoredFile, leaseMs: number | null, now: number): boolean {
    if (leaseMs !== null && isFromTheFuture(file, now)) {
      return outlasted.isOver(key, `${generation} ${file.modifiedAt}`, leaseMs + store.granularityMs);
    }
    outlasted.forget(key);
    return false;
  }

  /** The end of a lease by the store's clock. The allowance is for stores that round modification times down. */
  function endOf({ modifiedAt }: StoredFile, leaseMs: number | null): number {
    return leaseMs === null ? Number.POSITIVE_INFINITY : modifiedAt + leaseMs + store.granularityMs;
  }

  function isFromTheFuture({ modifiedAt }: StoredFile, now: number): boolean {
    return modifiedAt > now + store.granularityMs;
  }

  /** What an unreadable file replaced: the generation below is kept until the one above is taken over. */
  async function salvage(key: string, known: readonly bigint[]): Promise<LockRecord | undefined> {
    const below = known.at(-2);
    const file = below === undefined ? undefined : await store.read(generationKey(key, below));
    return file === undefined ? undefined : readRecord(file.body);
  }

  function recordOf(top: Top | undefined): JobRecord | undefined {
    if (top?.record === undefined) return undefined;
    if (top.over || top.expiresAt === undefined) return jobRecord(top.record, top.generation, undefined, top.readAt);
    return jobRecord(
      top.record,
      top.generation,
      top.expiresAt === Number.POSITIVE_INFINITY ? null : new Date(top.expiresAt),
      top.readAt,
    );
  }

  async function tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const key = keyOf(request.name);
    let remembered = lastFree.get(key);
    lastFree.delete(key);
    let seen: Top | undefined;
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      const now = await store.now();
      const guess = remembered;
      remembered = undefined;
      const top = await readTop(key, guess === undefined ? await generations(key) : [guess.generation], now, guess);
      // What was remembered may have been overtaken: it is good for a try, which step 3 judges, and for no other answer.
      if (top === 'moved' || (guess !== undefined && top?.expiresAt !== undefined)) continue;
      seen = top;
      const held = top !== undefined && !top.over;
      const judged = request.occurrence && judgeOccurrence(top?.record?.occurrence, request.occurrence, now, held);
      const refusal = refuse(top, held, judged, now);
      if (refusal !== undefined && guess !== undefined) continue;
      if (refusal !== undefined) return refusal;
      if (top?.expiresAt !== undefined && !(await mayTakeOver(top))) {
        vetoed.set(key, performance.now() + ASK_AGAIN_MS);
        return { acquired: false, reason: 'held', holder: recordOf(top)?.holder, record: recordOf(top) };
      }
      vetoed.delete(key);

      const generation = (top?.generation ?? 0n) + 1n;
      const attempt = judged?.verdict === 'claim' ? judged.attempt : 1;
      const record = nextRecord(request, top?.record, attempt, now);
      const { name, owner } = request;
      const { previous } = record;
      const previousScheduleHash = top?.record?.scheduleHash;
      const written = { at: performance.now() };
      const body = writeRecord(record);
      const grant = { name, owner, fence: generation, attempt, previous, previousScheduleHash, lost, record, body, written };
      // Only if what stands is what was remembered: a directory may have been emptied, and grown anew.
      const spare = top?.record === guess?.record ? guess?.below : undefined;
      const standing = await take(key, grant, top, spare, signal);
      if (standing !== undefined) {
        const below = (await cleanUp(key, standing.slice(0, -2))) ? top?.generation : undefined;
        const granted: GenerationGrant = { ...grant, below };
        return { acquired: true, grant: granted };
      }
    }
    return { acquired: false, reason: 'held', holder: recordOf(seen)?.holder, record: recordOf(seen) };
  }

  /** Step 4, lowest first. The lock is acquired by now, so nothing here may fail: false, and what stays is removed the next time. */
  async function cleanUp(key: string, below: readonly bigint[]): Promise<boolean> {
    for (const generation of below) {
      try {
        await store.remove(generationKey(key, generation));
      } catch {
        // Another user's file in a sticky directory, an I/O error. To go on would break the order.
        return false;
      }
    }
    return true;
  }

  function refuse(
    top: Top | undefined,
    held: boolean,
    judged: OccurrenceVerdict | undefined,
    now: number,
  ): AcquireResult | undefined {
    if (judged?.verdict === 'early') {
      return { acquired: false, reason: 'early', earlyMs: judged.earlyMs, record: recordOf(top) };
    }
    if (judged !== undefined && judged.verdict !== 'claim' && judged.verdict !== 'held') {
      return { acquired: false, reason: judged.verdict, record: recordOf(top) };
    }
    if (!held || top === undefined) return undefined;
    const record = recordOf(top);
    return {
      acquired: false,
      reason: 'held',
      holder: record?.holder,
      heldForMs: record === undefined ? undefined : now - record.acquiredAt.getTime(),
      expiresInMs: top.expiresAt === undefined || top.expiresAt === Number.POSITIVE_INFINITY ? undefined : top.expiresAt - now,
      record,
    };
  }

  async function mayTakeOver(top: Top): Promise<boolean> {
    const record = onStale && recordOf(top);
    return record === undefined || (await onStale!(record));
  }

  /** Steps 2 and 3: what stands then, with the new generation and the one that it follows as the last. Undefined: somebody was faster, or alive. */
  async function take(
    key: string,
    grant: GenerationGrant,
    top: Top | undefined,
    below: bigint | undefined,
    signal: AbortSignal,
  ): Promise<bigint[] | undefined> {
    const own = generationKey(key, grant.fence);
    const care = careFor(grant.record);
    const spare = below !== undefined && care === 'loose' ? generationKey(key, below) : undefined;
    let created = true;
    let after: bigint[] | undefined;
    let standing: bigint[] | undefined;
    try {
      created = await store.createExclusive(own, grant.body, care === 'durable', spare, signal);
      if (!created) return undefined;
      after = await generations(key);
      if ((await isNext(key, after, grant.fence, top)) && !signal.aborted) standing = after;
    } finally {
      // Also when creating or looking failed: a generation that nobody was told of must not stand.
      if (created && standing === undefined) await withdraw(key, grant, top, after);
    }
    signal.throwIfAborted();
    return standing;
  }

  /** What step 3 does with a generation of ours that it was too late for. `after`: what stands, if that is known. */
  async function withdraw(key: string, grant: GenerationGrant, top: Top | undefined, after?: readonly bigint[]): Promise<void> {
    const { fence, body, record } = grant;
    const own = generationKey(key, fence);
    if (after !== undefined && after.at(-1) !== fence) return store.remove(own);
    // Whether it was created is unknown, and if it was not, another process may have created one.
    if (after === undefined && (await store.read(own))?.body !== body) return;
    // As it is now: its holder may have come back, and have told how its run ended.
    const file = await store.read(generationKey(key, fence - 1n));
    const below = file && readRecord(file.body);
    const left: LockRecord =
      below === undefined ? releasedRecord(record, { result: 'abandoned' }, 0) : { ...below, state: 'released' };
    const occurrence = (record.occurrence ?? left.occurrence) !== undefined;
    // Without news, all that a crash of the machine can bring back is a claim whose run it has kept from starting.
    const news = file?.body !== top?.file.body;
    await store.write(own, writeRecord(left), news && durable(occurrence) ? 'durable' : 'whole');
  }

  async function isNext(key: string, after: readonly bigint[], generation: bigint, top: Top | undefined): Promise<boolean> {
    if (after.at(-1) !== generation) return false;
    if (top === undefined) return true;
    if (after.at(-2) !== top.generation) return false;
    if (top.expiresAt === undefined) return true;
    const again = await store.read(generationKey(key, top.generation));
    return again?.body === top.file.body && again.modifiedAt === top.file.modifiedAt;
  }

  function nextRecord(request: AcquireRequest, before: LockRecord | undefined, attempt: number, now: number): LockRecord {
    const { name, owner, holder, leaseMs, occurrence } = request;
    return {
      name,
      state: 'held',
      owner,
      holder,
      acquiredAt: now,
      leaseMs,
      proof: store.proof,
      claimed: occurrence !== undefined,
      occurrence: occurrence === undefined ? before?.occurrence : { at: occurrence.at, state: 'claimed', attempt },
      previous: before?.occurrence,
      lastStartedAt: now,
      lastSuccessAt: before?.lastSuccessAt,
      lastDurationMs: before?.lastDurationMs,
      lastError: before?.lastError,
      scheduleHash: occurrence?.scheduleHash ?? before?.scheduleHash,
    };
  }

  /** Only the process that acquired a lease renews it, with what it wrote then. */
  async function renew(grant: Grant): Promise<boolean> {
    const { body, written } = grant as Partial<GenerationGrant>;
    if (body === undefined || written === undefined) return false;
    const key = keyOf(grant.name);
    const own = generationKey(key, grant.fence);
    const calledAt = performance.now();
    const file = await store.read(own);
    const record = recordIn(file, grant);
    const renewed =
      file !== undefined &&
      record?.state === 'held' &&
      // Asked last, so that little time lies between the answer and the write. Nobody else moves the time of this file.
      !isSpent(file, record, written.at, await store.now()) &&
      (await store.write(own, body, 'whole')) &&
      (await generations(key)).at(-1) === grant.fence;
    if (renewed) written.at = calledAt;
    else await store.letGo(own, body);
    return renewed;
  }

  /**
   * Whether the time of one's own lease is over: by the store's clock, exactly as others judge it in step 1. Where that clock was set
   * back it says nothing, and the holder's own clock decides: others may have seen the file unchanged for a whole lease.
   */
  function isSpent(file: StoredFile, { leaseMs }: LockRecord, writtenAt: number, now: number): boolean {
    if (leaseMs === null) return false;
    if (isFromTheFuture(file, now)) return performance.now() >= writtenAt + leaseMs + store.granularityMs;
    return now >= endOf(file, leaseMs);
  }

  async function release(grant: Grant, outcome: Outcome): Promise<boolean> {
    const key = keyOf(grant.name);
    const own = generationKey(key, grant.fence);
    // A caller that did not want to wait for the flush comes again, and a second one would take as long.
    const before = flushing.get(grant.owner);
    if (before?.own === own) return before.answer;
    const now = await store.now();
    const file = await store.read(own);
    const record = recordIn(file, grant);
    // Looked up before the write: a generation that comes after it is the next holder's, in due form.
    if (file === undefined || record === undefined || (await generations(key)).at(-1) !== grant.fence) {
      const { body } = grant as Partial<GenerationGrant>;
      if (body !== undefined) await store.letGo(own, body);
      return false;
    }
    // The first release counts, and a second one is quiet; but the first one may have failed to reach the disk.
    if (record.state === 'released') return careFor(record, outcome) !== 'durable' || store.write(own, file.body, 'durable');
    const after = releasedRecord(record, outcome, now);
    const care = careFor(record, outcome);
    const answer = writeReleased(grant, file, record, after, care);
    if (care !== 'durable') return answer;
    flushing.set(grant.owner, { own, answer });
    return answer.finally(() => flushing.delete(grant.owner));
  }

  /** @param file with `record`, as it was read before */
  async function writeReleased(
    grant: Grant,
    file: StoredFile,
    record: LockRecord,
    after: LockRecord,
    care: Care,
  ): Promise<boolean> {
    const key = keyOf(grant.name);
    const body = writeRecord(after);
    if (!(await store.write(generationKey(key, grant.fence), body, care))) return false;
    // A process that took over before it was written goes by what stood there.
    if (mayBeOver(file, record, await store.now()) && (await generations(key)).at(-1) !== grant.fence) {
      throw new Error('the lease ended before the release was written, and somebody who may not have seen it has followed');
    }
    remember(key, { generation: grant.fence, below: (grant as Partial<GenerationGrant>).below, body, record: after });
    return true;
  }

  /** Whether others may have found the lease over since its file was read. */
  function mayBeOver(file: StoredFile, { leaseMs }: LockRecord, now: number): boolean {
    return leaseMs !== null && (now >= endOf(file, leaseMs) || isFromTheFuture(file, now));
  }

  function remember(key: string, free: Free): void {
    if (lastFree.size >= MOST_REMEMBERED) lastFree.clear();
    lastFree.set(key, free);
  }

  /**
   * A release without an occurrence needs no care: its holder is done, so whether a reader takes a mixture for held, for released or
   * for expired, or cannot make it out and waits, it is right. But a mixture may tell lies of an occurrence.
   *
   * To abandon a claim takes no flush either: what a crash of the machine brings back is a run that it has kept from starting, which
   * counts as one that has started. On a slow disk that is what claims come to that were granted too late, and others' flushes
   * do not wait for theirs.
   */
  function careFor(record: LockRecord, outcome?: Outcome): Care {
    if (outcome?.result !== 'abandoned' && durable(record.occurrence !== undefined)) return 'durable';
    return record.occurrence === undefined ? 'loose' : 'whole';
  }

  /** The record of a grant, if it is still its own: compared by the nonce, where the record is kept. */
  function recordIn(file: StoredFile | undefined, grant: Grant): LockRecord | undefined {
    const { body, record: asWritten } = grant as Partial<GenerationGrant>;
    const record = file === undefined ? undefined : file.body === body ? asWritten : readRecord(file.body);
    return record?.owner === grant.owner ? record : undefined;
  }

  /** @param listed what a list of all has shown, and the store's clock before it: good enough to look at each without a list of its own. */
  async function inspectKey(key: string, listed?: Listed): Promise<JobRecord | undefined> {
    let known = listed;
    for (let round = 0; round < ROUNDS; round += 1) {
      const now = known?.now ?? (await store.now());
      const top = await readTop(key, known?.generations ?? (await generations(key)), now);
      if (top !== 'moved') return recordOf(top);
      known = undefined;
    }
    throw new Error('the lock changes hands too fast to be read');
  }

  return {
    tryAcquire,
    renew,
    release,
    async inspect(name, signal) {
      signal?.throwIfAborted();
      return unlessGivenUp(inspectKey(keyOf(name)), signal);
    },
    async *list(prefix, signal) {
      signal?.throwIfAborted();
      const now = await unlessGivenUp(store.now(), signal);
      for (const [key, known] of locksAmong(await unlessGivenUp(store.list(''), signal))) {
        const reading = inspectKey(key, { generations: known, now }).catch((error: unknown) => {
          // One file that cannot be read must not hide the others.
          process.emitWarning(`The lock ${key} cannot be listed: ${String(error)}`, { code: 'SOLORUN_UNREADABLE' });
        });
        const record = await unlessGivenUp(reading, signal);
        if (record?.name.startsWith(prefix) === true) yield record;
      }
    },
    async look(name) {
      const key = keyOf(name);
      const now = await store.now();
      const top = await readTop(key, await generations(key), now);
      if (top === 'moved') return { free: true, deathIsVisible: false };
      if (top !== undefined && top.expiresAt === undefined) remember(key, { generation: top.generation });
      const deathIsVisible = top?.record?.proof.bootId !== undefined && top.record.proof.bootId === store.proof.bootId;
      return { free: top === undefined || (top.over && !(performance.now() < (vetoed.get(key) ?? 0))), deathIsVisible };
    },
  };
}

/** The answer, for as long as the caller waits for it. A slow store may give it later, and no step of it changes anything. */
function unlessGivenUp<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? answer : unlessAborted(answer, signal);
}

function releasedRecord(record: LockRecord, outcome: Outcome, now: number): LockRecord {
  if (outcome.result === 'abandoned') return { ...record, state: 'released', occurrence: record.previous };
  const occurrence: OccurrenceState | undefined =
    record.claimed && record.occurrence !== undefined ? { ...record.occurrence, state: outcome.result } : record.occurrence;
  return {
    ...record,
    state: 'released',
    occurrence,
    lastSuccessAt: outcome.result === 'done' ? now : record.lastSuccessAt,
    lastDurationMs: Math.max(0, now - record.acquiredAt),
    lastError: outcome.result === 'failed' ? outcome.error : undefined,
  };
}
