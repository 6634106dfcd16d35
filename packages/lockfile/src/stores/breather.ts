import { setImmediate } from 'node:timers';

/** So many steps of locks, each of 10 to 50 µs, fit into one turn of the event loop. */
const MOST_PER_TURN = 256;

/**
 * Undefined, until as many steps as fit into this turn of the event loop have asked; then a promise of a later turn. Every try, release
 * and renewal asks: a program that acquires in a tight loop, or has thousands of leases to renew, would else starve its own timers.
 * Steps are counted and not timed, because steps that ask together all ask before the first of them does anything.
 */
export function createBreather(): () => Promise<void> | undefined {
  const waiting: (() => void)[] = [];
  let passed = 0;

  function nextTurn(): void {
    const next = waiting.splice(0, MOST_PER_TURN);
    passed = next.length;
    if (passed > 0) setImmediate(nextTurn);
    for (const pass of next) pass();
  }

  return () => {
    if (passed >= MOST_PER_TURN) return new Promise((resolve) => waiting.push(resolve));
    if (passed === 0) setImmediate(nextTurn);
    passed += 1;
    return undefined;
  };
}
