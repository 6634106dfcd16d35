import { delay } from './abort.ts';
import { OptionError, quote } from './errors.ts';
import { callQuietly } from './events.ts';
import type { Occurrence } from './lease.ts';
import type { RunOutcome } from './provider.ts';

/** A run whose handler has been called, as its hooks see it. */
export interface StartedRun {
  readonly name: string;
  /** The fencing token. */
  readonly fence: bigint;
  readonly occurrence: Occurrence | undefined;
  /** 1, 2, … of the occurrence; 1 without one. */
  readonly attempt: number;
  /** True when an earlier attempt of this occurrence crashed or failed. */
  readonly recovering: boolean;
  /** By this machine's clock. */
  readonly startedAt: Date;
  /** Aborts when the solo has closed and waits for its hooks no longer: what a hook still does is to end. */
  readonly closed: AbortSignal;
}

/** How a run ended, as its hooks see it. */
export interface EndedRun {
  /** `lost`: the lease was lost under the handler, whatever that returned; another replica may have run it, too. */
  readonly outcome: RunOutcome;
  /** The error that the run rejects with, unless it is `done`. */
  readonly error: unknown;
  readonly durationMs: number;
}

/** Called once, at the end of the run that its hook was told of. */
export type RunEndHook = (end: EndedRun) => unknown;

/**
 * Hears of runs: called where the handler is, just after its first synchronous part, and nowhere else. It may return a function that is
 * called when the run is over.
 *
 * A hook decides nothing. The run never waits for one, and a hook that throws or rejects is reported in a process warning. `close()`
 * waits for promises that hooks have returned, for 5 s at most.
 *
 * @example
 * const timed: RunHook = ({ name }) => ({ outcome, durationMs }) => histogram.record(durationMs, { name, outcome });
 */
export type RunHook = (run: StartedRun) => RunEndHook | void | PromiseLike<RunEndHook | void>;

/** How long `close()` waits for hooks, in ms. */
const CLOSE_MS = 5_000;

/** @throws OptionError */
export function settleHooks(onRun: unknown): readonly RunHook[] {
  if (onRun === undefined) return none;
  const hooks: readonly unknown[] = Array.isArray(onRun) ? [...(onRun as unknown[])] : [onRun];
  for (const hook of hooks) {
    if (typeof hook !== 'function') throw new OptionError(`onRun is a function or several in an array, not ${typeof hook}.`);
  }
  return hooks as readonly RunHook[];
}

const none: readonly RunHook[] = [];

/** Calls the hooks of one solo, and knows which of them are still at work. */
export class Hooks {
  readonly #closed = new AbortController();
  readonly #busy = new Set<Promise<void>>();

  /** The handler has been called. Returns what is to be called when the run is over. Never throws. */
  begin(hooks: readonly RunHook[], run: Omit<StartedRun, 'closed'>): RunEndHook {
    const told: StartedRun = Object.freeze({ ...run, closed: this.#closed.signal });
    const ends = hooks.map((hook) => this.#beginOne(hook, told));
    return (end) => {
      const ended = Object.freeze(end);
      for (const tell of ends) tell(ended);
    };
  }

  /** Resolves when no hook is busy, or when they have been waited for long enough. */
  async close(): Promise<void> {
    if (this.#busy.size > 0) {
      const over = new AbortController();
      await Promise.race([this.#idle(), delay(CLOSE_MS, over.signal)]);
      over.abort();
    }
    this.#closed.abort();
  }

  #beginOne(hook: RunHook, run: StartedRun): (end: EndedRun) => void {
    const what = `An onRun hook of ${quote(run.name)}`;
    let onEnd: unknown;
    const begun = this.#track(callQuietly(what, async () => (onEnd = await hook(run))));
    return (end) => {
      const tell = async (): Promise<void> => {
        await begun;
        if (typeof onEnd === 'function') await callQuietly(what, () => (onEnd as RunEndHook)(end));
      };
      void this.#track(tell());
    };
  }

  /** Neither promise rejects. */
  #track(busy: Promise<void>): Promise<void> {
    this.#busy.add(busy);
    void busy.then(() => this.#busy.delete(busy));
    return busy;
  }

  async #idle(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy);
  }
}
