import { setTimeout as sleep } from 'node:timers/promises';

/** What is under way, so that nothing is cut off in the middle whose outcome nobody would know. */
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
      // What has ended may lead to something else: a grant that nobody waits for is given back.
      while (active.size > 0) {
        if ((await Promise.race([Promise.allSettled(active), limit.then(() => late)])) === late) return;
      }
    },
  };
}
