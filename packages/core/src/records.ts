import type { Calls } from './calls.ts';
import { checkFence, checkName, checkObject } from './checks.ts';
import { asProviderError, messageOf, OptionError, ProviderError, quote, redact } from './errors.ts';
import { callQuietly } from './events.ts';
import { operator } from './operator.ts';
import type {
  ForgetTerms,
  JobRecord,
  LockProvider,
  NamedPause,
  OccurrenceState,
  Pause,
  PauseTerms,
  RunRecord,
} from './provider.ts';
import { isUntouched } from './retention.ts';
import { callTimeout, fullName, type SoloSettings } from './settle.ts';
import type { ForceReleaseOptions, ListOptions, PauseOptions, PruneOptions } from './solo.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** A pause that somebody forgets must not last for ever. */
const LONGEST_PAUSE_MS = 30 * DAY_MS;
const MAX_NOTE_LENGTH = 500;
/** Records that are forgotten at once. */
const FORGETTERS = 16;

/** What people ask of records, and change in them: the rest of a solo is about runs. Names are those of its namespace. */
export class Records {
  readonly #settings: SoloSettings;
  readonly #provider: LockProvider;
  readonly #calls: Calls;

  constructor(settings: SoloSettings, calls: Calls) {
    this.#settings = settings;
    this.#provider = settings.provider;
    this.#calls = calls;
  }

  async inspect(name: string): Promise<JobRecord | undefined> {
    const full = this.#fullName(name);
    const record = await this.ask(`inspect ${quote(name)}`, (signal) => this.#provider.inspect(full, signal));
    return record && this.#asNamed(record);
  }

  async forceRelease(name: string, options: ForceReleaseOptions): Promise<boolean> {
    const full = this.#fullName(name);
    checkObject(quote(name), options);
    const { fence } = options;
    checkFence(name, fence);
    const operation = `release ${quote(name)}`;
    const record = await this.ask(operation, (signal) => this.#provider.inspect(full, signal));
    if (record === undefined || !record.held || record.fence !== fence) return false;
    // The provider compares owner and fence in one step with the release: the name may have changed hands since.
    const grant = { name: full, owner: record.owner, fence, attempt: record.occurrence?.attempt ?? 1 };
    const outcome = { result: 'failed', error: 'released by an operator' } as const;
    return this.ask(operation, (signal) => this.#provider.release(grant, outcome, signal));
  }

  list({ prefix = '' }: ListOptions = {}): AsyncGenerator<JobRecord, void, undefined> {
    return this.#each('list the locks', prefix, (full, signal) => this.#provider.list(full, signal));
  }

  async pause(name: string, options: PauseOptions = {}): Promise<Pause> {
    const full = this.#fullName(name);
    const terms = settlePause(name, options);
    const pause = await this.ask(`pause ${quote(name)}`, (signal) => this.#provider.pause(full, terms, signal));
    // Where the two clocks differ, an instant that is to come here may be of the past there.
    if ('until' in terms && !(await this.#isPaused(name))) {
      throw new OptionError(
        `The pause of ${quote(name)} until ${terms.until.toISOString()} is over already, by the clock of the store: give untilMs, which counts from now.`,
      );
    }
    return pause;
  }

  async #isPaused(name: string): Promise<boolean> {
    for await (const each of this.pauses({ prefix: name })) if (each.name === name) return true;
    return false;
  }

  async resume(name: string): Promise<boolean> {
    const full = this.#fullName(name);
    return this.ask(`resume ${quote(name)}`, (signal) => this.#provider.resume(full, signal));
  }

  pauses({ prefix = '' }: ListOptions = {}): AsyncGenerator<NamedPause, void, undefined> {
    return this.#each('list the pauses', prefix, (full, signal) => this.#provider.pauses(full, signal));
  }

  async runs(name: string): Promise<readonly RunRecord[]> {
    const full = this.#fullName(name);
    return this.ask(`read the runs of ${quote(name)}`, (signal) => this.#provider.runs(full, Number.MAX_SAFE_INTEGER, signal));
  }

  async rerun(name: string): Promise<OccurrenceState | undefined> {
    const full = this.#fullName(name);
    return this.ask(`open ${quote(name)} again`, (signal) => this.#provider.reopen(full, signal));
  }

  async prune({ olderThanMs, prefix = '', dryRun = false, onName }: PruneOptions, signal?: AbortSignal): Promise<number> {
    if (typeof olderThanMs !== 'number' || !(olderThanMs >= 0)) {
      throw new OptionError(`olderThanMs is a number of milliseconds from 0, not ${String(olderThanMs)}.`);
    }
    const terms: ForgetTerms = { untouchedForMs: olderThanMs };
    let forgotten = 0;
    const forget = async (name: string): Promise<void> => {
      if (!dryRun && !(await this.#forget(name, terms))) return;
      forgotten += 1;
      onName?.(name);
    };
    const records = this.list({ prefix });
    let trouble: Error | undefined;
    // Each takes the next record when it is done with one, so that no list of a million names is kept.
    const forgetAll = async (): Promise<void> => {
      for (let next = await records.next(); next.done !== true; next = await records.next()) {
        if (signal?.aborted === true) return;
        if (!isUntouched(next.value, olderThanMs)) continue;
        // One record that cannot go is no reason to keep the others.
        await forget(next.value.name).catch((error: unknown) => {
          trouble ??= asProviderError(this.#provider, error, 'prune');
        });
      }
    };
    try {
      await Promise.all(Array.from({ length: FORGETTERS }, forgetAll));
    } finally {
      await records.return();
    }
    if (trouble !== undefined) throw trouble;
    return forgotten;
  }

  /** One question to the provider, with an end. */
  async ask<T>(operation: string, call: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const provider = this.#provider;
    const timeoutMs = callTimeout(this.#settings, null);
    const timeoutError = (): Error => new ProviderError(provider.kind, operation, `no answer within ${timeoutMs} ms`);
    try {
      return await this.#calls.bounded(call, { timeoutMs, timeoutError });
    } catch (error) {
      throw asProviderError(provider, error, operation);
    }
  }

  #forget(name: string, terms: ForgetTerms): Promise<boolean> {
    const full = fullName(this.#settings.namespace, name);
    return this.ask(`forget ${quote(name)}`, (signal) => this.#provider.forget(full, terms, signal));
  }

  async *#each<T extends { readonly name: string }>(
    operation: string,
    prefix: string,
    open: (prefix: string, signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    const ended = new AbortController();
    const each = open(fullName(this.#settings.namespace, prefix), ended.signal)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.ask(operation, () => each.next());
        if (next.done === true) return;
        yield this.#asNamed(next.value);
      }
    } finally {
      ended.abort();
      // Not waited for: it comes after a next() that may hang.
      void callQuietly('The end of a list', () => each.return?.());
    }
  }

  /** As the provider knows it. */
  #fullName(name: string): string {
    checkName(name);
    return fullName(this.#settings.namespace, name);
  }

  /** With its name as users write it. */
  #asNamed<T extends { readonly name: string }>(found: T): T {
    const { namespace } = this.#settings;
    return namespace === '' ? found : { ...found, name: found.name.slice(namespace.length + 1) };
  }
}

function settlePause(name: string, options: PauseOptions): PauseTerms {
  checkObject(`the pause of ${quote(name)}`, options);
  const { untilMs, until, by = operator(), note } = options;
  for (const [what, text] of Object.entries({ by, note })) {
    if (text === undefined || (typeof text === 'string' && text.isWellFormed() && [...text].length <= MAX_NOTE_LENGTH)) continue;
    throw new OptionError(`The ${what} of a pause is a string of at most ${MAX_NOTE_LENGTH} characters (lock ${quote(name)}).`);
  }
  const words = { by: redact(by), ...(note === undefined ? {} : { note: redact(note) }) };
  if (until === undefined) return { ...words, forMs: checkPauseMs(name, untilMs ?? HOUR_MS) };
  if (untilMs !== undefined) throw new OptionError(`Give the pause of ${quote(name)} until or untilMs, not both.`);
  if (!(until instanceof Date) || Number.isNaN(until.getTime())) {
    throw new OptionError(`until is a valid Date, not ${messageOf(until)} (lock ${quote(name)}).`);
  }
  const forMs = until.getTime() - Date.now();
  if (forMs <= 0) throw new OptionError(`The pause of ${quote(name)} until ${until.toISOString()} would be over already.`);
  checkPauseMs(name, forMs);
  return { ...words, until };
}

function checkPauseMs(name: string, ms: number): number {
  if (typeof ms === 'number' && ms > 0 && ms <= LONGEST_PAUSE_MS) return ms;
  throw new OptionError(
    `A pause lasts from 1 ms to 30 days (untilMs, counted from now; or until, a Date), not ${String(ms)} ms (lock ${quote(name)}).`,
  );
}
