import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';

/** Where a holder reads how much time has passed, in ms. Its zero means nothing and it never goes back. */
export interface Clock {
  now(): number;
}

/** This process's own monotonic clock. Setting the wall clock does not move it. */
export const processClock: Clock = { now: () => performance.now() };

/**
 * The monotonic clock plus the time that the machine was suspended.
 *
 * On Linux `performance.now()` is CLOCK_MONOTONIC, which stands still while a machine sleeps, and the provider's clock does not:
 * a laptop that wakes after an hour would trust a lease that others took long ago. `os.uptime()` (CLOCK_BOOTTIME) goes on
 * counting, in steps of 10 ms. A virtual machine whose *host* pauses it sees neither clock move; there only the fence helps.
 */
export function createSuspendAwareClock(readUptimeMs: () => number = () => uptime() * 1000): Clock {
  let suspendedMs = 0;
  let offset = readUptimeMs() - performance.now();
  let readAt = Number.NEGATIVE_INFINITY;
  return {
    now() {
      // The uptime costs a system call and a file: 5 µs, against 0.05 µs. Between looking and acting a millisecond can pass anyway.
      const soon = performance.now();
      if (soon - readAt < 1) return soon + suspendedMs;
      const up = readUptimeMs();
      // Read after the uptime, so that being preempted in between can only hide a suspension, never invent one.
      const monotonic = performance.now();
      readAt = monotonic;
      const slept = up - monotonic - offset;
      // Below 20 ms it is the coarse step of the uptime; the lease's margin is there for that.
      if (slept > 20) {
        suspendedMs += slept;
        offset += slept;
      }
      return monotonic + suspendedMs;
    },
  };
}
