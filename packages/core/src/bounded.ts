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

/**
 * Calls a provider and waits no longer than the bounds allow, whether or not the provider heeds its signal: one call that hangs
 * must not freeze the rest.
 */
export function bounded<T>(call: (signal: AbortSignal) => Promise<T>, bounds: Bounds<T>): Promise<T> {
  const { timeoutMs, signal, timeoutError, idle = false, late } = bounds;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason as Error);
    const controller = new AbortController();
    let given = false;
    const giveUp = (reason: unknown): void => {
      given = true;
      end();
      controller.abort(reason);
      reject(reason);
    };
    const onAbort = (): void => giveUp(signal?.reason);
    const timer = setTimeout(() => giveUp(timeoutError()), timeoutMs);
    if (idle) timer.unref();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    // The wrapper turns a synchronous throw of the provider into a rejection.
    (async () => call(controller.signal))().then(
      (value) => {
        if (given) return late?.(value);
        end();
        resolve(value);
      },
      (error: unknown) => {
        // After giving up, the caller has its error already and this one is its echo.
        if (given) return;
        end();
        reject(error);
      },
    );
  });
}

/** Aborts `target` with the source's reason when the source aborts. Returns what undoes it. */
export function linkAbort(source: AbortSignal | undefined, target: AbortController): () => void {
  return onceAborted(source, () => target.abort(source?.reason));
}

/** Calls `listener` once when `signal` is aborted, also if it is already. Returns what undoes it. */
export function onceAborted(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
