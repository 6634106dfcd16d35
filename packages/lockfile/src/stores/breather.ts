import { setImmediate } from 'node:timers';

/** What locks may take of one turn of the event loop, in ms. */
const SHARE_MS = 5;

interface Turn {
  readonly shareEnds: number;
  readonly over: Promise<void>;
}

/**
 * Undefined, until what is done here has taken its share of this turn of the event loop; then a promise of a later turn. A program
 * that acquires in a tight loop, or has thousands of leases to renew, would else starve its own timers.
 */
export function createBreather(): () => Promise<void> | undefined {
  let turn: Turn | undefined;

  function begin(): Turn {
    const over = new Promise<void>((resolve) => {
      setImmediate(() => {
        turn = undefined;
        resolve();
      });
    });
    return { shareEnds: performance.now() + SHARE_MS, over };
  }

  function isShareLeft(): boolean {
    turn ??= begin();
    return performance.now() < turn.shareEnds;
  }

  async function later(): Promise<void> {
    while (!isShareLeft()) await turn?.over;
  }

  return () => (isShareLeft() ? undefined : later());
}
