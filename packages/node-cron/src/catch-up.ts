import { ProviderError, type JobRecord, type OccurrenceState, type RunResult, type Solo } from '@solorun/core';
import { delay, Mutex } from '@solorun/core/server';
import type { Instants } from './instants.ts';

/**
 * What becomes of scheduled times at which no replica was up, or the name was paused, or the provider was away.
 * - `skip`: they are over; the `missed` event tells of them.
 * - `latest`: the latest of them is run, once in the fleet.
 * - `all`: the last `max` of them are run, from the oldest to the newest, until one fails.
 */
export type CatchUpPolicy = 'skip' | 'latest' | { readonly all: true; readonly max: number };

export interface CatchUpTerms {
  readonly solo: Solo;
  readonly name: string;
  readonly instants: Instants;
  readonly policy: Exclude<CatchUpPolicy, 'skip'>;
  readonly withinMs: number;
  /** How many runs of one scheduled time may start. */
  readonly attempts: number;
  /** Runs one scheduled time that has passed. */
  readonly run: (at: Date) => Promise<RunResult<unknown>>;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Between two looks while the provider is away or the name is paused: a pause may be ended early, in ms. */
const LOOK_AGAIN_MS = 30_000;
/** Between two looks at any other time, for what an operator opened again, in ms. */
const LOOK_EVERY_MS = 60_000;

/** How a scheduled time of the past went. `wait`: not yet. `stop`: another replica is at it, or it failed. */
type Went = 'on' | 'stop' | 'wait';

/** Runs the scheduled times of one schedule that were missed. The claim of each makes it once in the fleet. */
export class CatchUp {
  readonly #terms: CatchUpTerms;
  /** One at a time of this replica. */
  readonly #turns = new Mutex();
  /** The one that is under way. */
  #round: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(terms: CatchUpTerms) {
    this.#terms = terms;
    terms.signal.addEventListener('abort', () => clearTimeout(this.#timer), { once: true });
  }

  /** Some may have been missed. Resolves when there is nothing left to run now. Never rejects. */
  look(): Promise<void> {
    clearTimeout(this.#timer);
    this.#round ??= this.#look().finally(() => {
      this.#round = undefined;
      if (!this.#terms.signal.aborted) this.#timer = setTimeout(() => void this.look(), LOOK_EVERY_MS).unref();
    });
    return this.#round;
  }

  /** A tick that has come. Those before it come first where all are run; after one that could not be run, it is looked for again. */
  async tick<T>(at: Date, run: () => Promise<RunResult<T>>): Promise<RunResult<T>> {
    if (this.#terms.policy !== 'latest') await this.#runMissed(at);
    try {
      const result = await run();
      if (result.status === 'skipped' && result.reason === 'paused') void this.look();
      return result;
    } catch (error) {
      if (error instanceof ProviderError) void this.look();
      throw error;
    }
  }

  async #look(): Promise<void> {
    const { signal } = this.#terms;
    while (!signal.aborted && (await this.#runMissed()) === 'wait') await delay(LOOK_AGAIN_MS, signal);
  }

  /** @param before only those before it. @default all that have come */
  #runMissed(before?: Date): Promise<Went> {
    return this.#turns.run(() => this.#runMissedNow(before));
  }

  async #runMissedNow(before?: Date): Promise<Went> {
    const { solo, name } = this.#terms;
    let record: JobRecord | undefined;
    try {
      record = await solo.inspect(name);
    } catch {
      // The provider is away, which the ticks report; it is asked again.
      return 'wait';
    }
    for (const at of record === undefined ? [] : this.#missed(record)) {
      if (before !== undefined && at >= before) break;
      const went = await this.#runOne(at);
      if (went !== 'on') return went;
    }
    return 'on';
  }

  /** What is to be run, from the oldest to the newest: by the provider's clock, and never before the name was known. */
  #missed(record: JobRecord): readonly Date[] {
    const { instants, policy, withinMs, attempts } = this.#terms;
    const { readAt, held, occurrence, knownSince } = record;
    const latest = [occurrence?.at, knownSince, new Date(readAt.getTime() - withinMs)];
    const after = new Date(Math.max(...latest.map((each) => each?.getTime() ?? Number.NEGATIVE_INFINITY)));
    const most = policy === 'latest' ? 1 : policy.max;
    const open = held || occurrence === undefined ? undefined : openedAt(occurrence, attempts, readAt.getTime() - withinMs);
    // In order, until one fails: the next tick is the one that goes on.
    if (policy !== 'latest' && !held && occurrence?.state === 'failed' && open === undefined) return [];
    const missed: Date[] = [];
    for (const at of instants.between(after, readAt)) if (missed.push(at) >= most) break;
    if (missed.length < most && open !== undefined) missed.push(open);
    return missed.toReversed();
  }

  async #runOne(at: Date): Promise<Went> {
    const { run, signal } = this.#terms;
    if (signal.aborted) return 'stop';
    try {
      const result = await run(at);
      if (result.status === 'ran') return 'on';
      if (result.reason === 'paused') return 'wait';
      return result.reason === 'done' || result.reason === 'superseded' ? 'on' : 'stop';
    } catch (error) {
      // Whatever the handler threw has been reported, as that of a tick is.
      return error instanceof ProviderError ? 'wait' : 'stop';
    }
  }
}

/** The last scheduled time, if another run of it may start: an operator, or after `since` a crash or a failure, has left it open. */
function openedAt({ at, state, attempt }: OccurrenceState, attempts: number, since: number): Date | undefined {
  const isOpen = state === 'reopened' || (state !== 'done' && attempt < attempts && at.getTime() >= since);
  return isOpen ? at : undefined;
}
