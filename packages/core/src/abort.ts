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

/** Aborts `target` with the source's reason when the source aborts. Returns what undoes it. */
export function linkAbort(source: AbortSignal | undefined, target: AbortController): () => void {
  return onceAborted(source, () => target.abort(source?.reason));
}

const nothing = (): void => {};

/** The listeners of each signal: adding and removing one of thousands costs the same as one of one, unlike with the signal itself. */
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

/** Stops waiting when `signal` aborts, and rejects with its reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
