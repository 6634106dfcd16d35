// @ts-check

import { setTimeout as sleep } from 'node:timers/promises';
import { schedule } from 'node-cron';

/** A job that runs every second tries a busy lock again after that, in ms. */
const TICK_MS = 1_000;

/**
 * node-cron on every replica, and a lock around the handler.
 *
 * @param {(act: () => Promise<void>) => Promise<unknown>} once Tries the lock once, and acts if it is free.
 */
export function eachTick(once) {
  return (/** @type {string} */ expression, /** @type {(at: Date) => Promise<void>} */ act) => {
    schedule(expression, ({ date }) => once(() => act(date)));
  };
}

/**
 * For a lock that has no way to wait: the next tick tries again.
 *
 * @param {() => Promise<boolean>} once
 */
export async function untilHeld(once) {
  while (!(await once())) await sleep(TICK_MS);
}
