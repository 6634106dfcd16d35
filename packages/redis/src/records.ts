import type { ForgetTerms, JobRecord, NamedPause, OccurrenceState, Pause, PauseTerms, RunRecord } from '@solorun/core';
import { Failure, pauseOf, unlessAborted } from '@solorun/core/server';
import type { Batches } from './batches.ts';
import { fieldsOf, type Values } from './fields.ts';
import type { Link } from './link.ts';
import type { Script, Word } from './lua.ts';
import { occurrenceOf, readPause, recordOf, writePause } from './record.ts';
import * as scripts from './record-scripts.ts';
import { refused, unreadable, yesOrNo } from './replies.ts';
import { runsOf } from './runs.ts';

export interface RecordsTerms {
  readonly batches: Batches;
  readonly open: (signal?: AbortSignal) => Promise<Link>;
  /** How long an answer may be missing, in ms. */
  readonly callMs: () => number;
  readonly lockKey: (name: string) => string;
}

/** The questions of people about records, and the changes that they make: the rest of the provider is about acquisitions. */
export class Records {
  readonly #terms: RecordsTerms;

  constructor(terms: RecordsTerms) {
    this.#terms = terms;
  }

  async inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    signal?.throwIfAborted();
    const [record] = await unlessAborted(this.#recordsOf([this.#terms.lockKey(name)]), signal);
    return orThrow(record);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<JobRecord> {
    for await (const keys of this.#scan(prefix, signal)) yield* found(await unlessAborted(this.#recordsOf(keys), signal));
  }

  async *pauses(prefix: string, signal?: AbortSignal): AsyncGenerator<NamedPause> {
    for await (const keys of this.#scan(prefix, signal)) yield* found(await unlessAborted(this.#pausesOf(keys), signal));
  }

  async runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    const texts = await this.#ask(scripts.runs, name, [], signal);
    if (!Array.isArray(texts)) throw refused(texts);
    return orThrow(this.#read(name, () => runsOf(texts as (string | null)[], limit)));
  }

  async pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    const when = 'until' in terms ? [false, terms.until.getTime()] : [terms.forMs, false];
    const endsUs = await this.#ask(scripts.pause, name, [...when, writePause(terms)], signal);
    if (typeof endsUs !== 'number') throw refused(endsUs);
    const { by, note } = terms;
    return pauseOf({ until: new Date(endsUs / 1_000), by, note }, 0);
  }

  async resume(name: string, signal: AbortSignal): Promise<boolean> {
    return orThrow(yesOrNo(await this.#ask(scripts.resume, name, [], signal)));
  }

  async reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    const mark = await this.#ask(scripts.reopen, name, [], signal);
    if (Array.isArray(mark)) return occurrenceOf(mark[0] as string);
    if (mark !== 0) throw refused(mark);
    return undefined;
  }

  async forget(name: string, { untouchedForMs }: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    return unlessAborted(this.#terms.batches.forgetting.ask({ name, untouchedForMs }, signal), signal);
  }

  /** The one reply to a question for one name. */
  async #ask(script: Script, name: string, words: readonly Word[], signal: AbortSignal | undefined): Promise<unknown> {
    signal?.throwIfAborted();
    const asking = async (): Promise<unknown> => {
      const [reply] = await this.#terms.batches.ask(script, [this.#terms.lockKey(name)], words, words.length);
      return reply;
    };
    return unlessAborted(asking(), signal);
  }

  /** The keys of the names that start so, some at a time, each once. */
  async *#scan(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<readonly string[]> {
    signal?.throwIfAborted();
    const seen = new Set<string>();
    const link = await this.#terms.open(signal);
    for await (const keys of link.scan(`${globLiteral(this.#terms.lockKey(prefix))}*`, this.#terms.callMs(), signal)) {
      const fresh = keys.filter((key) => !seen.has(key));
      for (const key of fresh) seen.add(key);
      if (fresh.length > 0) yield fresh;
    }
  }

  #recordsOf(keys: readonly string[]): Promise<readonly (JobRecord | undefined | Failure)[]> {
    return this.#askAll(scripts.inspect, keys, ([now, ...all], some) =>
      some.map((key, index) => {
        const name = this.#nameOf(key);
        return this.#read(name, () => recordOf(name, fieldsOf(all[index] as Values), Number(now)));
      }),
    );
  }

  #pausesOf(keys: readonly string[]): Promise<readonly (NamedPause | undefined | Failure)[]> {
    return this.#askAll(scripts.pauses, keys, (texts, some) =>
      some.map((key, index) => {
        const [name, text] = [this.#nameOf(key), texts[index] as string | null];
        return text === null ? undefined : this.#read(name, () => ({ name, ...readPause(text) }));
      }),
    );
  }

  /** In one script, or in one for each where a node of a cluster refuses a question for several. */
  async #askAll<T>(
    script: Script,
    keys: readonly string[],
    read: (reply: readonly unknown[], keys: readonly string[]) => readonly T[],
  ): Promise<readonly T[]> {
    const link = await this.#terms.open();
    const ask = async (some: readonly string[]): Promise<readonly T[]> =>
      read(await link.run(script, some, [], this.#terms.callMs()), some);
    return link.oneByOne ? (await Promise.all(keys.map((key) => ask([key])))).flat() : ask(keys);
  }

  /** A hash that another program has changed must not fail the names that were asked with it. */
  #read<T>(name: string, read: () => T): T | Failure {
    try {
      return read();
    } catch (error) {
      return new Failure(refused(unreadable(name, error)));
    }
  }

  #nameOf(key: string): string {
    return key.slice(this.#terms.lockKey('').length);
  }
}

function orThrow<T>(read: T | Failure): T {
  if (read instanceof Failure) throw read.error;
  return read;
}

function* found<T extends object>(all: readonly (T | undefined | Failure)[]): Generator<T> {
  for (const each of all) {
    // One that cannot be read must not hide the others.
    if (each instanceof Failure) process.emitWarning((each.error as Error).message, { code: 'SOLORUN_UNREADABLE' });
    else if (each !== undefined) yield each;
  }
}

/** A pattern that matches this text alone. */
function globLiteral(text: string): string {
  return text.replaceAll(/[*?[\]\\]/g, String.raw`\$&`);
}
