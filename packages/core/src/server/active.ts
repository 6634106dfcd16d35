import { setTimeout as sleep } from 'node:timers/promises';

/** The work that is under way: a close waits for it, so that it cuts off nothing whose outcome would then be unknown. */
export interface Active {
  track<T>(work: Promise<T>): Promise<T>;
  /** Resolves when nothing is under way, or after `limit`. */
  over(limit: Promise<unknown>): Promise<void>;
}

/** How long a close waits for the answers that are due, in ms. */
const FINISH_MS = 1_500;

export function finishLimit(): Promise<void> {
  return sleep(FINISH_MS, undefined, { ref: false });
}

export function createActive(): Active {
  const active = new Set<Promise<unknown>>();

  return {
    track(work) {
      active.add(work);
      const forget = (): void => void active.delete(work);
      work.then(forget, forget);
      return work;
    },
    async over(limit) {
      const late = Symbol('late');
      // One end may lead to more work: a grant whose caller has gone is given back.
      while (active.size > 0) {
        if ((await Promise.race([Promise.allSettled(active), limit.then(() => late)])) === late) return;
      }
    },
  };
}
