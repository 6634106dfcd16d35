import { onceAborted } from './abort.ts';
import { ownSignals, type CallSignals } from './call-signals.ts';
import { Deadlines } from './deadlines.ts';

/** Calls of a provider, which take no longer than they may. */
export interface Calls {
  /**
   * Waits for the answer no longer than the bounds allow, whether or not the provider heeds its signal: one call that hangs must not
   * freeze the rest. An answer that is there at once is handed on as it is.
   */
  bounded<T>(call: (signal: AbortSignal) => T | PromiseLike<T>, bounds: Bounds<T>): T | Promise<T>;
}

interface Bounds<T> {
  /** After this long the call is given up, in ms. */
  readonly timeoutMs: number;
  /** The call is given up when one of them aborts: cheaper than one that joins them. */
  readonly signals?: readonly (AbortSignal | undefined)[];
  readonly timeoutError: () => Error;
  /** Does not keep the process alive. */
  readonly idle?: boolean;
  /** Receives the answer of a call that was given up: a late success must be undone. */
  readonly late?: (value: T) => void;
}

const none: readonly AbortSignal[] = [];
/** Deadlines that lie this close together are one, in ms. */
const TOGETHER_MS = 5;

export function createCalls(signals: CallSignals = ownSignals): Calls {
  const pending = new Deadlines<Pending<unknown>>({
    dueAt: ({ dueAt }) => dueAt,
    expire: (call) => call.expire(),
    keepsAlive: ({ keepsAlive }) => keepsAlive,
    togetherMs: TOGETHER_MS,
  });
  const onEnd = (call: Pending<unknown>): void => pending.delete(call);

  return {
    bounded(call, bounds) {
      for (const signal of bounds.signals ?? none) signal?.throwIfAborted();
      const controller = signals.next();
      const asked = call(controller.signal);
      if (!isPromise(asked)) {
        signals.answered(controller);
        return asked;
      }
      const one = new Pending(asked, controller, signals, bounds, onEnd);
      pending.add(one as Pending<unknown>);
      one.listen();
      return one.answer;
    },
  };
}

class Pending<T> {
  readonly answer: Promise<T>;
  readonly dueAt: number;
  readonly keepsAlive: boolean;
  readonly #bounds: Bounds<T>;
  readonly #controller: AbortController;
  readonly #signals: CallSignals;
  readonly #onEnd: (call: Pending<unknown>) => void;
  readonly #unlinks: (() => void)[] = [];
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;
  #over = false;

  constructor(
    asked: PromiseLike<T>,
    controller: AbortController,
    signals: CallSignals,
    bounds: Bounds<T>,
    onEnd: (call: Pending<unknown>) => void,
  ) {
    this.#bounds = bounds;
    this.#controller = controller;
    this.#signals = signals;
    this.#onEnd = onEnd;
    this.keepsAlive = bounds.idle !== true;
    this.dueAt = performance.now() + bounds.timeoutMs;
    this.answer = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    asked.then(
      (value) => this.#answered(value),
      (error: unknown) => this.#failed(error),
    );
  }

  listen(): void {
    for (const signal of this.#bounds.signals ?? none) {
      const unlink = onceAborted(signal, () => this.#giveUp(signal?.reason));
      if (this.#over) return unlink();
      this.#unlinks.push(unlink);
    }
  }

  expire(): void {
    this.#giveUp(this.#bounds.timeoutError());
  }

  #answered(value: T): void {
    if (this.#over) return this.#bounds.late?.(value);
    this.#end();
    this.#signals.answered(this.#controller);
    this.#resolve(value);
  }

  #failed(error: unknown): void {
    // After giving up, the caller has its error already and this one is its echo.
    if (this.#over) return;
    this.#end();
    this.#reject(error);
  }

  #giveUp(reason: unknown): void {
    // Its signal may be another call's by now.
    if (this.#over) return;
    this.#end();
    this.#controller.abort(reason);
    this.#reject(reason);
  }

  #end(): void {
    this.#over = true;
    for (const unlink of this.#unlinks) unlink();
    this.#onEnd(this as Pending<unknown>);
  }
}

function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | undefined)?.then === 'function';
}
