import { setImmediate } from 'node:timers';

/** What locks may take of one turn of the event loop, in ms. */
const SHARE_MS = 5;

/**
 * Resolves at once, until what is done here has taken its share of this turn of the event loop, and then in a later turn. A program
 * that acquires in a tight loop, or has thousands of leases to renew, would else starve its own timers.
 */
export function createBreather(): () => Promise<void> {
  let turn: { readonly share: number; readonly over: Promise<void> } | undefined;

  function begin(): { readonly share: number; readonly over: Promise<void> } {
    const over = new Promise<void>((resolve) => {
      setImmediate(() => {
        turn = undefined;
        resolve();
      });
    });
    return { share: performance.now() + SHARE_MS, over };
  }

  return async () => {
    for (;;) {
      turn ??= begin();
      if (performance.now() < turn.share) return;
      await turn.over;
    }
  };
}
