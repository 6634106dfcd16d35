import { getEventListeners } from 'node:events';

/** A delay that ends early, without an error, when `signal` aborts. Keeps the process alive meanwhile. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    // setTimeout fires at once beyond 2^31 − 1 ms.
    const timer = setTimeout(end, Math.min(ms, 2 ** 31 - 1));
    signal?.addEventListener('abort', end, { once: true });
  });
}

export interface Bounds<T> {
  /** After this long the call is given up, in ms. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutError: () => Error;
  /** Does not keep the process alive. */
  readonly idle?: boolean;
  /** Receives the answer of a call that was given up: a late success must be undone. */
  readonly late?: (value: T) => void;
}

/** Signals that no call needs any more and nobody listens to: making one costs more than the rest of a call (2.5 µs on Node 20). */
const idle: AbortController[] = [];
const IDLE_AT_MOST = 64;

/** For the next call, if the last one was never told to stop and has left nothing behind that would hear of it. */
function reuse(controller: AbortController): void {
  if (idle.length < IDLE_AT_MOST && getEventListeners(controller.signal, 'abort').length === 0) idle.push(controller);
}

const nothing = (): void => {};

class Call<T> {
  readonly answer: Promise<T>;
  readonly #timer: NodeJS.Timeout;
  readonly #bounds: Bounds<T>;
  readonly #controller: AbortController;
  #unlink = nothing;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;
  #over = false;

  constructor(asked: PromiseLike<T>, controller: AbortController, bounds: Bounds<T>) {
    this.#bounds = bounds;
    this.#controller = controller;
    this.answer = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = setTimeout(() => this.#giveUp(bounds.timeoutError()), bounds.timeoutMs);
    if (bounds.idle === true) this.#timer.unref();
    this.#unlink = onceAborted(bounds.signal, () => this.#giveUp(bounds.signal?.reason));
    asked.then(
      (value) => this.#answered(value),
      (error: unknown) => this.#failed(error),
    );
  }

  #answered(value: T): void {
    if (this.#over) return this.#bounds.late?.(value);
    this.#end();
    reuse(this.#controller);
    this.#resolve(value);
  }

  #failed(error: unknown): void {
    // After giving up, the caller has its error already and this one is its echo.
    if (this.#over) return;
    this.#end();
    this.#reject(error);
  }

  #giveUp(reason: unknown): void {
    this.#end();
    this.#controller.abort(reason);
    this.#reject(reason);
  }

  #end(): void {
    this.#over = true;
    this.#unlink();
    clearTimeout(this.#timer);
  }
}

/**
 * Calls a provider and waits no longer than the bounds allow, whether or not the provider heeds its signal: one call that hangs
 * must not freeze the rest. The signal belongs to the call; when that has been answered, it may be given to another one. An answer
 * that is there at once is handed on as it is.
 */
export function bounded<T>(call: (signal: AbortSignal) => T | PromiseLike<T>, bounds: Bounds<T>): T | Promise<T> {
  bounds.signal?.throwIfAborted();
  const controller = idle.pop() ?? new AbortController();
  const asked = call(controller.signal);
  if (isPromise(asked)) return new Call(asked, controller, bounds).answer;
  reuse(controller);
  return asked;
}

function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | undefined)?.then === 'function';
}

/** Aborts `target` with the source's reason when the source aborts. Returns what undoes it. */
export function linkAbort(source: AbortSignal | undefined, target: AbortController): () => void {
  return onceAborted(source, () => target.abort(source?.reason));
}

/** Who listens to a signal: adding and removing one of thousands costs the same as one of one, unlike with the signal itself. */
const audiences = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `listener` once when `signal` is aborted, also if it is already. Returns what undoes it. */
export function onceAborted(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return nothing;
  if (signal.aborted) {
    listener();
    return nothing;
  }
  const audience = audiences.get(signal) ?? new Set();
  if (audience.size === 0) {
    audiences.set(signal, audience);
    signal.addEventListener('abort', tellAudience, { once: true });
  }
  // A wrapper of its own, so that one function may listen twice.
  const place = (): void => listener();
  audience.add(place);
  return () => {
    if (audience.delete(place) && audience.size === 0) signal.removeEventListener('abort', tellAudience);
  };
}

function tellAudience(event: Event): void {
  const audience = audiences.get(event.target as AbortSignal);
  for (const listener of audience ?? []) {
    audience?.delete(listener);
    listener();
  }
}
