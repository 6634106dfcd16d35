import { messageOf } from './errors.ts';
import type { Records } from './records.ts';
import type { SoloSettings } from './settle.ts';

const MINUTE_MS = 60_000;
/** A program that lives for a moment has better to do, in ms. */
const FIRST_MS = 10 * MINUTE_MS;
/** Between two sweeps of one replica, and up to as much again, so that replicas do not sweep in step, in ms. */
const EVERY_MS = 240 * MINUTE_MS;

/**
 * Forgets records that were not touched for `retainMs`, a few times a day: after a release, so that no timer is kept for it, and beside
 * all else, so that no run waits for it.
 */
export class Sweeper {
  readonly #settings: SoloSettings;
  readonly #records: Records;
  readonly #closing: AbortSignal;
  #dueAt: number = performance.now() + FIRST_MS * (1 + Math.random());

  constructor(settings: SoloSettings, records: Records, closing: AbortSignal) {
    this.#settings = settings;
    this.#records = records;
    this.#closing = closing;
  }

  /** A lease of this solo was released. */
  released(): void {
    const now = performance.now();
    if (now < this.#dueAt) return;
    this.#dueAt = now + EVERY_MS * (1 + Math.random());
    void this.#sweep();
  }

  async #sweep(): Promise<void> {
    const { retainMs, provider } = this.#settings;
    if (retainMs === Number.POSITIVE_INFINITY || !provider.guarantees.occurrences) return;
    try {
      await this.#records.prune({ olderThanMs: retainMs }, this.#closing);
    } catch (error) {
      if (this.#closing.aborted) return;
      // Nothing waits for it, and another replica does it, too; but a store that refuses it each time fills up.
      const why = messageOf(error);
      process.emitWarning(`Records older than retainMs were not removed: ${why}`, { code: 'SOLORUN_RETENTION' });
    }
  }
}
