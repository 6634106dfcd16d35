import { setTimeout as sleep } from 'node:timers/promises';

/** How long a close waits for the answers that are due, in ms. */
const FINISH_MS = 1_500;

export function finishLimit(): Promise<void> {
  return sleep(FINISH_MS, undefined, { ref: false });
}

/** The work that is under way: a close waits for it, so that it cuts off nothing whose outcome would then be unknown. */
export class Active {
  readonly #running = new Set<Promise<unknown>>();

  track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    const forget = (): void => void this.#running.delete(work);
    work.then(forget, forget);
    return work;
  }

  /** Resolves when nothing is under way, or after `limit`. */
  async over(limit: Promise<unknown>): Promise<void> {
    const late = Symbol('late');
    // One end may lead to more work: a grant whose caller has gone is given back.
    while (this.#running.size > 0) {
      if ((await Promise.race([Promise.allSettled(this.#running), limit.then(() => late)])) === late) return;
    }
  }
}
