const unsent = new WeakSet<object>();

/** Marks the error of a question that never left this process, and returns it: nothing can have come of that question. */
export function neverSent<E>(error: E): E {
  if (typeof error === 'object' && error !== null) unsent.add(error);
  return error;
}

/** Whether the question that failed so was sent, as far as is known: the server may have carried it out. */
export function wasSent(error: unknown): boolean {
  return typeof error !== 'object' || error === null || !unsent.has(error);
}
