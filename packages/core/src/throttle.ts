import type { LockProvider } from './provider.ts';

/**
 * How many tries a provider is asked at once.
 *
 * A server that is slower than its clients are patient does work that nobody waits for any more, and then the work of taking it back:
 * the more it is asked, the less comes of it. So the number of tries under way is halved when one was not answered in time, and
 * grows again while answers come fast: slowly at first, as TCP's window does (https://datatracker.ietf.org/doc/html/rfc5681), or it
 * would be too large again at once. A provider that answers in time is not limited.
 */
export interface Throttle {
  /** Undefined: the try may be sent. Otherwise its turn, which `cancel` takes back. */
  enter(): { readonly come: Promise<void>; cancel(): void } | undefined;
  /** A try that was sent is over. `late`: it was given up for want of an answer. `other`: it says nothing of the provider's speed. */
  leave(how: 'answered' | 'late' | 'other', timeoutMs: number, tookMs: number): void;
}

/** Beyond this there is no limit. */
const LARGEST = 4_096;
/** For so many time-outs after it was halved, the number grows by one only when as many were answered as may be under way. */
const CAREFUL = 10;
/** An answer is fast if it took no longer than this part of the time-out. */
const FAST = 0.5;

const throttles = new WeakMap<LockProvider, Throttle>();

/** The one of a provider in this process, whichever solos ask it. */
export function throttleOf(provider: LockProvider): Throttle {
  const throttle = throttles.get(provider) ?? createThrottle();
  throttles.set(provider, throttle);
  return throttle;
}

export function createThrottle(now: () => number = () => performance.now()): Throttle {
  const waiting = new Set<() => void>();
  let underWay = 0;
  let most = Number.POSITIVE_INFINITY;
  let halvedAt = Number.NEGATIVE_INFINITY;

  function admit(): void {
    for (const go of waiting) {
      if (underWay + 1 > most) return;
      waiting.delete(go);
      underWay += 1;
      go();
    }
  }

  return {
    enter() {
      if (underWay + 1 <= most && waiting.size === 0) {
        underWay += 1;
        return undefined;
      }
      let go = (): void => {};
      const come = new Promise<void>((resolve) => {
        go = resolve;
      });
      waiting.add(go);
      return {
        come,
        cancel() {
          // Its turn may have come in this very moment, and then another one's has.
          if (waiting.delete(go)) return;
          underWay -= 1;
          admit();
        },
      };
    },
    leave(how, timeoutMs, tookMs) {
      // Those that were sent together are late together, and are one reason.
      if (how === 'late' && now() >= halvedAt + timeoutMs) {
        halvedAt = now();
        most = Math.max(1, Math.floor(Math.min(most, underWay) / 2));
      }
      if (how === 'answered' && tookMs <= timeoutMs * FAST && most < Number.POSITIVE_INFINITY) {
        most += now() < halvedAt + CAREFUL * timeoutMs ? 1 / most : 1;
        if (most > LARGEST) most = Number.POSITIVE_INFINITY;
      }
      underWay -= 1;
      admit();
    },
  };
}
