import type { NamedPause, Pause, PauseTerms } from '@solorun/core';
import { pauseInForce, pauseOf } from '@solorun/core/server';
import { pauseKey, standingAmong } from './key.ts';
import type { FileStore, StoredFile } from './store.ts';
import { iso, time } from './text.ts';
import type { Tops } from './top.ts';
import { unlessGivenUp, warnOfUnreadable } from './unreadable.ts';

/** A pause that cannot be read lasts as long as the longest that the core makes, in ms from when it was written. */
const UNREADABLE_MS = 30 * 24 * 3_600_000;

/** A pause as its file has it. */
interface Kept extends Pause {
  /** Undefined: the file cannot be read. */
  readonly name: string | undefined;
}

/**
 * The pauses of locks: files `<key>.<number>.paused` beside the generations, of which the one with the highest number counts. Each is
 * written once, with a number of its own: a process that removes one that is over, however late, removes no other.
 *
 * A pause holds as soon as its file is visible: every acquisition lists the files of its lock after it was asked for, and does not start
 * past a pause that it sees, see step 3 of generations.ts.
 */
export class Pauses {
  readonly #store: FileStore;
  readonly #tops: Tops;
  readonly #isDurable: boolean;

  constructor(store: FileStore, tops: Tops, isDurable: boolean) {
    this.#store = store;
    this.#tops = tops;
    this.#isDurable = isDurable;
  }

  async pause(key: string, name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    const now = await this.#store.now();
    const { pauses } = await this.#tops.standing(key);
    signal.throwIfAborted();
    const { until, by, note } = pauseOf(terms, now);
    const pause: Kept = { name, until: new Date(until), by, ...(note === undefined ? {} : { note }) };
    const body = write(pause, now);
    let number = next(pauses, now);
    while (!(await this.#store.createExclusive(pauseKey(key, number), body, this.#isDurable, undefined, signal))) number += 1n;
    await this.#store.letGo(pauseKey(key, number), body);
    // Those below do not count any more, also if they stay. One stays: a listing that is not atomic, and is overtaken by this one, still shows it.
    await this.#remove(key, pauses.slice(0, -1)).catch(() => {});
    return { until: pause.until, by, ...(note === undefined ? {} : { note }) };
  }

  /** Rejects if a file cannot be removed: the lock may be paused as before. */
  async resume(key: string, signal: AbortSignal): Promise<boolean> {
    const { pauses } = await this.#tops.standing(key);
    if (pauses.length === 0) return false;
    const now = await this.#store.now();
    const newest = pauseKey(key, pauses.at(-1)!);
    // What stands in the way of reading, as a symbolic link does, is removed like a pause.
    const kept = await this.#store.read(newest).then(
      (file) => file && readPause(newest, file),
      () => 'unreadable' as const,
    );
    signal.throwIfAborted();
    await this.#remove(key, pauses);
    return kept === 'unreadable' || pauseInForce(kept, now) !== undefined;
  }

  /** The pause in force among those that stand. The newest counts alone: it has replaced the others. */
  async inForce(key: string, pauses: readonly bigint[], now: number): Promise<Pause | undefined> {
    if (pauses.length === 0) return undefined;
    const kept = await this.#read(key, pauses);
    if (kept === undefined || pauseInForce(kept, now) === undefined) return undefined;
    const { until, by, note } = kept;
    return { until, by, ...(note === undefined ? {} : { note }) };
  }

  /** Removes pauses that are over. Those that stay cost a look at each acquisition, and no more. */
  async sweep(key: string, pauses: readonly bigint[]): Promise<void> {
    await this.#remove(key, pauses).catch(() => {});
  }

  async *list(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<NamedPause, void> {
    signal?.throwIfAborted();
    const now = await unlessGivenUp(this.#store.now(), signal);
    for (const [key, { pauses }] of standingAmong(await unlessGivenUp(this.#store.list(''), signal))) {
      if (pauses.length === 0) continue;
      const reading = this.#read(key, pauses).catch((error: unknown) => warnOfUnreadable(key, error));
      const kept = await unlessGivenUp(reading, signal);
      if (kept === undefined || pauseInForce(kept, now) === undefined) continue;
      const { name, until, by, note } = kept;
      if (name === undefined) warnOfUnreadable(key, note);
      else if (name.startsWith(prefix)) yield { name, until, by, ...(note === undefined ? {} : { note }) };
    }
  }

  async #read(key: string, pauses: readonly bigint[]): Promise<Kept | undefined> {
    const newest = pauseKey(key, pauses.at(-1)!);
    const file = await this.#store.read(newest);
    return file && readPause(newest, file);
  }

  /** The newest last: while it stands, the others do not count. */
  async #remove(key: string, pauses: readonly bigint[]): Promise<void> {
    for (const pause of pauses) await this.#store.remove(pauseKey(key, pause));
  }
}

function next(pauses: readonly bigint[], now: number): bigint {
  const last = pauses.at(-1) ?? 0n;
  const byClock = BigInt(Math.floor(now * 1_000));
  return byClock > last ? byClock : last + 1n;
}

function write({ name, until, by, note }: Kept, now: number): string {
  const lines = [
    `  "name": ${JSON.stringify(name)}`,
    `  "until": ${iso(until.getTime())}`,
    `  "by": ${JSON.stringify(by)}`,
    ...(note === undefined ? [] : [`  "note": ${JSON.stringify(note)}`]),
    `  "pausedAt": ${iso(now)}`,
  ];
  return `{\n${lines.join(',\n')}\n}\n`;
}

/** An operator has meant something by a pause that cannot be read: it counts, and says so. */
function readPause(key: string, { body, modifiedAt }: StoredFile): Kept {
  const { name, until, by, note } = parse(body);
  const end = time(until);
  if (end === undefined) {
    const remedy = `the file ${key} cannot be read: resume the lock, and pause it again`;
    return { name: undefined, until: new Date(modifiedAt + UNREADABLE_MS), by: 'unknown', note: remedy };
  }
  const known = {
    name: typeof name === 'string' ? name : undefined,
    until: new Date(end),
    by: typeof by === 'string' ? by : 'unknown',
  };
  return typeof note === 'string' ? { ...known, note } : known;
}

function parse(body: string): Record<'name' | 'until' | 'by' | 'note', unknown> {
  const nothing = { name: undefined, until: undefined, by: undefined, note: undefined };
  try {
    return { ...nothing, ...(JSON.parse(body) as object | null) };
  } catch (error) {
    if (error instanceof SyntaxError) return nothing;
    throw error;
  }
}
