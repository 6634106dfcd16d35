import type { AcquireRequest, AcquireResult, OccurrenceRequest } from '@solorun/core';
import { createBatch, createOutlasted, Failure, oneAtATime, type Batch, type Connector } from '@solorun/core/server';
import type { Link } from './link.ts';
import type { Script, Word } from './lua.ts';
import { answerOf, writeHolder, type Answer, type Stranded } from './record.ts';
import { forget } from './record-scripts.ts';
import { readAll, refused, unreadable, yesOrNo, type Replies } from './replies.ts';
import * as scripts from './scripts.ts';

/** Names in one script: while the server works on some, this process reads the answers to others. */
const MOST_AT_ONCE = 16;
/** The same for tries that are taken back: nothing waits for those answers. */
const MOST_UNDONE_AT_ONCE = 256;

interface Try extends AcquireRequest {
  /** The lease that is over by observation, and looks valid to the server. */
  readonly over?: string;
}

interface Owned {
  readonly name: string;
  readonly owner: string;
}

interface Ending extends Owned {
  readonly result: string;
  readonly error: string;
}

interface Untouched {
  readonly name: string;
  readonly untouchedForMs: number;
}

export interface BatchesTerms {
  readonly connector: Connector<Link>;
  readonly open: () => Promise<Link>;
  /** How long an answer may be missing, in ms. */
  readonly callMs: () => number;
  readonly lockKey: (name: string) => string;
}

/** The questions of one turn in one script each. */
export class Batches {
  readonly acquiring: Batch<Try, AcquireResult>;
  readonly renewing: Batch<Owned, boolean>;
  readonly releasing: Batch<Ending, boolean>;
  /** Releases of tries that are taken back. */
  readonly undoing: Batch<Ending, boolean>;
  readonly forgetting: Batch<Untouched, boolean>;
  readonly #terms: BatchesTerms;
  /** Leases that lie further ahead of the server's clock than they last, since that clock was set back: they are timed here. */
  readonly #outlasted = createOutlasted();

  constructor(terms: BatchesTerms) {
    this.#terms = terms;
    this.acquiring = createBatch(atOnce, (_, tries) => this.#acquireAll(tries), MOST_AT_ONCE);
    this.renewing = createBatch(atOnce, (_, owned) => this.#renewAll(owned));
    this.releasing = createBatch(atOnce, (_, endings) => this.#releaseAll(endings), MOST_AT_ONCE);
    // Tries are often in doubt because the server is slow: while it works on some, the others wait for the next script.
    this.undoing = createBatch(oneAtATime(undefined), (_, endings) => this.#releaseAll(endings), MOST_UNDONE_AT_ONCE);
    this.forgetting = createBatch(atOnce, (_, names) => this.#forgetAll(names), MOST_AT_ONCE);
  }

  /** Whether a lease is over by observation, which looks valid to the server. */
  readonly isOver = (name: string, { mark, leaseMs }: Stranded): boolean => this.#outlasted.isOver(name, mark, leaseMs);

  /** One reply per key; in a cluster each node answers for itself, and no key waits for another one's node. */
  ask(script: Script, keys: readonly string[], words: readonly Word[], wordsEach: number): Replies | Promise<Replies> {
    const link = this.#terms.connector.current;
    if (link === undefined) return this.#terms.open().then(() => this.ask(script, keys, words, wordsEach));
    if (!link.oneByOne) return link.run(script, keys, words, this.#terms.callMs());
    return keys.map((key, index) => {
      const own = words.slice(index * wordsEach, (index + 1) * wordsEach);
      return link.run(script, [key], own, this.#terms.callMs()).then(([reply]) => reply);
    });
  }

  async #acquireAll(tries: readonly Try[]): Promise<readonly (AcquireResult | Failure | Promise<AcquireResult>)[]> {
    const words: Word[] = [];
    for (const { owner, holder, leaseMs, over = '', ignorePause = false, history = false, occurrence } of tries) {
      words.push(owner, writeHolder(holder), leaseMs!, over, ignorePause, history, occurrence !== undefined && wordsOf(occurrence));
    }
    const keys = tries.map(({ name }) => this.#terms.lockKey(name));
    const replies = await this.ask(scripts.acquire, keys, words, scripts.ACQUIRE_WORDS);
    return readAll<AcquireResult>(replies, (reply, index) => this.#readAnswer(tries[index]!, reply));
  }

  #readAnswer(request: Try, reply: unknown): AcquireResult | Failure | Promise<AcquireResult> {
    if (Array.isArray(reply) && reply[0] === 'error') return new Failure(refused(reply[1]));
    try {
      const answer = answerOf(request, reply as Answer, this.isOver);
      // The lease in the way is over by observation: once more, with its mark.
      return typeof answer === 'string' ? this.acquiring.ask({ ...request, over: answer }) : answer;
    } catch (error) {
      // Another program made this hash, and the names that were asked with it are well.
      return new Failure(refused(unreadable(request.name, error)));
    }
  }

  async #renewAll(owned: readonly Owned[]): Promise<readonly (boolean | Failure | Promise<boolean>)[]> {
    const keys = owned.map(({ name }) => this.#terms.lockKey(name));
    const owners = owned.map(({ owner }) => owner);
    return readAll(await this.ask(scripts.renew, keys, owners, 1), yesOrNo);
  }

  async #releaseAll(endings: readonly Ending[]): Promise<readonly (boolean | Failure | Promise<boolean>)[]> {
    const keys = endings.map(({ name }) => this.#terms.lockKey(name));
    const words: Word[] = [];
    for (const { owner, result, error } of endings) words.push(owner, result, error.toWellFormed());
    return readAll(await this.ask(scripts.release, keys, words, scripts.RELEASE_WORDS), yesOrNo);
  }

  async #forgetAll(names: readonly Untouched[]): Promise<readonly (boolean | Failure | Promise<boolean>)[]> {
    const keys = names.map(({ name }) => this.#terms.lockKey(name));
    // Infinity is no number of JSON's.
    const words = names.map(({ untouchedForMs }) => Math.min(untouchedForMs, Number.MAX_SAFE_INTEGER));
    return readAll(await this.ask(forget, keys, words, 1), yesOrNo);
  }
}

function wordsOf({ at, attempts, scheduleHash, schedule, nextDueAt }: OccurrenceRequest): (string | number)[] {
  const plan = schedule === undefined ? '' : JSON.stringify(schedule);
  return [at.getTime(), attempts, scheduleHash ?? '', plan, nextDueAt?.getTime() ?? ''];
}

/** Questions need not wait for the answers to earlier ones: a connection has them in order. */
function atOnce(job: (means: undefined) => Promise<void>): Promise<void> {
  return job(undefined);
}
