import { clearTimeout, setTimeout } from 'node:timers';
import type {
  AcquireRequest,
  AcquireResult,
  Finding,
  ForgetTerms,
  Grant,
  Guarantees,
  JobRecord,
  LockProvider,
  NamedPause,
  OccurrenceState,
  Outcome,
  Pause,
  PauseTerms,
  RunRecord,
} from '@solorun/core';
import { Generations, type GenerationsOptions } from './generations.ts';
import { guaranteesOf, type Flush } from './guarantees.ts';
import type { FileStore } from './store.ts';

export interface LockfileTerms {
  readonly store: FileStore;
  readonly keyOf: (name: string) => string;
  /** The key of the floor of all names here. */
  readonly floorKey: string;
  readonly flush: Flush;
  readonly onStale: GenerationsOptions['onStale'];
  readonly reach: Guarantees['reach'];
  /** A store of the user's gets the signals of tries, and may keep them. */
  readonly forgetsSignals: boolean;
  /** Checks the place of the files. */
  readonly examine: () => readonly Finding[];
}

/** Polling interval of a waiter where a poll shows that the holder has died, in ms. */
const POLL_FOR_DEATH_MS = 100;
/** Polling interval of a waiter that has a watch, in case that misses a change, in ms. */
const POLL_BESIDE_WATCH_MS = 5_000;
/** Polling interval of a waiter without a watch, in ms. */
const POLL_WITHOUT_WATCH_MS = 500;

export class LockfileProvider implements LockProvider {
  readonly kind = 'lockfile';
  readonly guarantees: Guarantees;
  readonly forgetsSignals: boolean;
  readonly #store: FileStore;
  readonly #keyOf: (name: string) => string;
  readonly #generations: Generations;
  readonly #examine: () => readonly Finding[];
  /** Leases here end with the process, so they end when it closes the store. Their holders learn of it before that. */
  readonly #closing = new AbortController();

  constructor({ store, keyOf, floorKey, flush, onStale, reach, forgetsSignals, examine }: LockfileTerms) {
    this.#store = store;
    this.#keyOf = keyOf;
    this.#examine = examine;
    this.guarantees = guaranteesOf(store, flush, reach);
    this.forgetsSignals = forgetsSignals;
    this.#generations = new Generations({
      store,
      keyOf,
      floorKey,
      durable: (occurrence) => flush === 'always' || (flush === 'occurrences' && occurrence),
      onStale,
      lost: this.#closing.signal,
    });
  }

  tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    return this.#generations.tryAcquire(request, signal);
  }

  renew(grant: Grant): Promise<boolean> {
    return this.#generations.renew(grant);
  }

  release(grant: Grant, outcome: Outcome): Promise<boolean> {
    return this.#generations.release(grant, outcome);
  }

  async untilFree({ name }: AcquireRequest, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const end = (): void => over.abort();
    signal.addEventListener('abort', end, { once: true });
    let watching = this.#store.watch !== undefined;
    let change: Promise<void> | undefined;
    try {
      while (!signal.aborted) {
        // The watch comes before the poll, so that no change falls in between.
        if (watching) {
          change ??= this.#store.watch?.(`${this.#keyOf(name)}.`, over.signal).catch(() => {
            // No watches left on this machine (ENOSPC, EMFILE): poll by the clock from now on.
            watching = false;
          });
        }
        const { free, deathIsVisible } = await this.#generations.poll(name);
        if (free) return;
        const withoutDeath = watching ? POLL_BESIDE_WATCH_MS : POLL_WITHOUT_WATCH_MS;
        if (await changes(change, deathIsVisible ? POLL_FOR_DEATH_MS : withoutDeath, over.signal)) change = undefined;
      }
    } finally {
      end();
      signal.removeEventListener('abort', end);
    }
  }

  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    return this.#generations.inspect(name, signal);
  }

  list(prefix = '', signal?: AbortSignal): AsyncIterable<JobRecord> {
    return this.#generations.list(prefix, signal);
  }

  runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    return this.#generations.runs(name, limit, signal);
  }

  pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    return this.#generations.pause(name, terms, signal);
  }

  resume(name: string, signal: AbortSignal): Promise<boolean> {
    return this.#generations.resume(name, signal);
  }

  pauses(prefix = '', signal?: AbortSignal): AsyncIterable<NamedPause> {
    return this.#generations.pauses(prefix, signal);
  }

  reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    return this.#generations.reopen(name, signal);
  }

  forget(name: string, terms: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    return this.#generations.forget(name, terms, signal);
  }

  async examine(signal?: AbortSignal): Promise<readonly Finding[]> {
    signal?.throwIfAborted();
    return this.#examine();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the lockfile provider was closed'));
    await this.#store.close();
  }
}

/** Whether a change came within this time. Ends early when `signal` aborts. */
function changes(change: Promise<void> | undefined, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((answer) => {
    const end = (changed: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      answer(changed);
    };
    const stop = (): void => end(false);
    const timer = setTimeout(stop, ms);
    signal.addEventListener('abort', stop, { once: true });
    void change?.then(() => end(true));
  });
}
