import type { Clock } from './clock.ts';

/** One timer for many deadlines. */
export interface Alarm {
  /** Rings at `dueAt` by the clock, or sooner: `ring` asks again for deadlines that are still to come. */
  at(dueAt: number): void;
  /** Whether the next ring keeps the process alive. @default false */
  keepAlive(keep: boolean): void;
  /** Forgets what it was to ring for. */
  stop(): void;
}

/**
 * Most deadlines are never met, and setting and clearing a timer for each costs as much as a short run. So the timer is set for the
 * earliest and left to fire: what has ended meanwhile is simply not there any more.
 */
export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let timer: NodeJS.Timeout | undefined;
  let ringsAt = Number.POSITIVE_INFINITY;
  let kept = false;

  function onTimer(): void {
    timer = undefined;
    ringsAt = Number.POSITIVE_INFINITY;
    ring();
  }

  return {
    at(dueAt) {
      if (dueAt >= ringsAt) return;
      clearTimeout(timer);
      ringsAt = dueAt;
      // setTimeout fires at once beyond 2^31 − 1 ms.
      timer = setTimeout(onTimer, Math.min(Math.max(0, Math.ceil(dueAt - clock.now())), 2 ** 31 - 1));
      if (!kept) timer.unref();
    },
    keepAlive(keep) {
      if (keep === kept) return;
      kept = keep;
      if (keep) timer?.ref();
      else timer?.unref();
    },
    stop() {
      clearTimeout(timer);
      timer = undefined;
      ringsAt = Number.POSITIVE_INFINITY;
    },
  };
}
