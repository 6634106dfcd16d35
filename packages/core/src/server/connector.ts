import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from '../abort.ts';
import { neverSent } from './sent.ts';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** An opening that hangs does not hold up a close for longer, in ms. */
const CLOSE_MS = 2_000;

/** Something that is opened when it is needed, once for all who need it, and again after it has been lost. */
export class Connector<T extends { readonly lost: AbortSignal; usable?(): boolean }> {
  readonly #open: () => Promise<T>;
  readonly #end: (opened: T) => Promise<void>;
  /** Opened last, and perhaps lost since. */
  #latest: T | undefined;
  #opening: Promise<T> | undefined;
  /** Openings that failed one after the other, and when the last one did, by `performance.now()`. */
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  readonly #closing = new AbortController();

  constructor(open: () => Promise<T>, end: (opened: T) => Promise<void>) {
    this.#open = open;
    this.#end = end;
  }

  /** The open one, if there is one. */
  get current(): T | undefined {
    const latest = this.#latest;
    return latest?.lost.aborted === true || latest?.usable?.() === false ? undefined : latest;
  }

  /** The open one, or the next one. A caller that gives up does not stop the opening. */
  get(signal?: AbortSignal): Promise<T> {
    const closing = this.#closing.signal;
    if (closing.aborted) return Promise.reject(neverSent(closing.reason as Error));
    const ready = this.current;
    if (ready !== undefined) return Promise.resolve(ready);
    this.#opening ??= this.#start();
    return signal === undefined ? this.#opening : unlessAborted(this.#opening, signal);
  }

  /** Puts one that was opened beside in the place of the open one, which is the caller's to end. After a close it ends the new one. */
  async replace(opened: T): Promise<void> {
    if (this.#closing.signal.aborted) return this.#end(opened);
    this.#failures = 0;
    this.#latest = opened;
  }

  /** Opens no more, and ends what is open. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the provider is closed'));
    const last = this.current;
    const opened = this.#opening?.catch(() => {});
    await Promise.race([opened, sleep(CLOSE_MS, undefined, { ref: false })]);
    if (last !== undefined) await this.#end(last);
  }

  async #start(): Promise<T> {
    const closing = this.#closing.signal;
    const leftMs = this.#failedAt + this.#pauseMs() - performance.now();
    try {
      if (leftMs > 0) await sleep(leftMs, undefined, { signal: closing });
      const opened = await this.#open();
      if (closing.aborted) {
        await this.#end(opened);
        throw closing.reason;
      }
      this.#failures = 0;
      this.#latest = opened;
      return opened;
    } catch (error) {
      this.#failures += 1;
      this.#failedAt = performance.now();
      // The questions that waited for it were never sent.
      throw neverSent(error);
    } finally {
      this.#opening = undefined;
    }
  }

  /** A server that is down is not asked by all replicas at once, nor in step. */
  #pauseMs(): number {
    if (this.#failures === 0) return 0;
    return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1)) * (0.75 + Math.random() / 2);
  }
}
