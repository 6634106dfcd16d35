import type { LockProvider } from './provider.ts';

/*
 * How many tries a provider is asked at once.
 *
 * A server that is slower than its clients are patient does work for clients that have given up, and then the work of undoing it:
 * the more it is asked, the less gets done. So the number of tries under way is halved when many answers come too late, and grows
 * again while answers come fast: slowly at first, as TCP's window does (https://datatracker.ietf.org/doc/html/rfc5681), or it would
 * be too large again at once. A provider that answers in time is not limited.
 *
 * A provider may also be well and some names not: their node of a cluster is gone, their row is locked. Names whose last try was
 * late have half of the tries at most, so that the others get on.
 */

/** How a try ended. `late`: it was given up because no answer came. `other`: it says nothing of the provider's speed. */
export type TryEnd = 'answered' | 'late' | 'other';

/** Permission for one try. */
export interface Pass {
  /** Undefined: the try may be sent. Otherwise its turn, which `cancel` takes back. */
  readonly come: Promise<void> | undefined;
  cancel(): void;
  /** The try that was sent is over. */
  leave(end: TryEnd, timeoutMs: number, tookMs: number): void;
}

interface Waiting {
  readonly isDoubtful: boolean;
  go(): void;
}

/** Beyond this there is no limit. */
const LARGEST = 4_096;
/** One for names in doubt and one for the others. */
const SMALLEST = 2;
/** For this many time-outs after it was halved, the number grows by one only when as many were answered as may be under way. */
const CAREFUL = 10;
/** This many late answers for each that came in time are a sign of overload; fewer are the trouble of some names. */
const TOO_MANY = 0.25;
/** An answer is fast if it took no longer than this part of the time-out. */
const FAST = 0.5;
/** Names in doubt that are remembered. One more counts as good. */
const MOST_DOUBTFUL = 10_000;

const throttles = new WeakMap<LockProvider, Throttle>();

/** The one throttle of a provider in this process, for all solos that ask it. */
export function throttleOf(provider: LockProvider): Throttle {
  const throttle = throttles.get(provider) ?? new Throttle();
  throttles.set(provider, throttle);
  return throttle;
}

export class Throttle {
  readonly #now: () => number;
  readonly #waiting = new Set<Waiting>();
  /** Names whose last try came too late. */
  readonly #doubtful = new Set<string>();
  readonly #recent: Recent;
  #underWay = 0;
  #doubtfulUnderWay = 0;
  #most = Number.POSITIVE_INFINITY;
  #halvedAt = Number.NEGATIVE_INFINITY;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#recent = new Recent(now);
  }

  enter(name: string): Pass {
    const isDoubtful = this.#doubtful.has(name);
    const leave: Pass['leave'] = (end, timeoutMs, tookMs) => {
      this.#learn(name, end, timeoutMs, tookMs);
      this.#over(isDoubtful);
    };
    // This one overtakes none: a try that waits and may go would have gone.
    if (this.#mayGo(isDoubtful)) {
      this.#begin(isDoubtful);
      return { come: undefined, cancel() {}, leave };
    }
    let go = (): void => {};
    const come = new Promise<void>((resolve) => {
      go = resolve;
    });
    const waiting = { isDoubtful, go };
    this.#waiting.add(waiting);
    const cancel = (): void => {
      // Its turn may have come in this very moment. Then the turn is passed on.
      if (!this.#waiting.delete(waiting)) this.#over(isDoubtful);
    };
    return { come, cancel, leave };
  }

  #mayGo(isDoubtful: boolean): boolean {
    const ofThatKind = isDoubtful ? this.#doubtfulUnderWay : this.#underWay - this.#doubtfulUnderWay;
    const half = ofThatKind + 1 <= this.#most / 2;
    // Names in doubt keep to their half, and cannot take that of the others, which may have it all.
    return half || (!isDoubtful && this.#underWay + 1 <= this.#most);
  }

  #begin(isDoubtful: boolean): void {
    this.#underWay += 1;
    if (isDoubtful) this.#doubtfulUnderWay += 1;
  }

  #over(isDoubtful: boolean): void {
    this.#underWay -= 1;
    if (isDoubtful) this.#doubtfulUnderWay -= 1;
    this.#admit();
  }

  #admit(): void {
    for (const waiting of this.#waiting) {
      if (!this.#mayGo(false) && !this.#mayGo(true)) return;
      if (!this.#mayGo(waiting.isDoubtful)) continue;
      this.#waiting.delete(waiting);
      this.#begin(waiting.isDoubtful);
      waiting.go();
    }
  }

  #learn(name: string, end: TryEnd, timeoutMs: number, tookMs: number): void {
    if (end === 'other') return;
    const { answered, late } = this.#recent.count(end, timeoutMs);
    if (end === 'answered') {
      this.#doubtful.delete(name);
      if (tookMs <= timeoutMs * FAST) this.#grow(timeoutMs);
      return;
    }
    if (this.#doubtful.size < MOST_DOUBTFUL) this.#doubtful.add(name);
    // Tries that were sent together are late together, and count as one reason.
    if (this.#now() < this.#halvedAt + timeoutMs || late < answered * TOO_MANY) return;
    this.#halvedAt = this.#now();
    this.#most = Math.max(SMALLEST, Math.floor(Math.min(this.#most, this.#underWay) / 2));
  }

  #grow(timeoutMs: number): void {
    if (this.#most === Number.POSITIVE_INFINITY) return;
    this.#most += this.#now() < this.#halvedAt + CAREFUL * timeoutMs ? 1 / this.#most : 1;
    if (this.#most > LARGEST) this.#most = Number.POSITIVE_INFINITY;
  }
}

interface Counts {
  answered: number;
  late: number;
}

/** How tries ended of late: within one to two time-outs. */
class Recent {
  readonly #now: () => number;
  #from = 0;
  #before: Counts = { answered: 0, late: 0 };
  #current: Counts = { answered: 0, late: 0 };

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Counts one more, and returns all. */
  count(end: 'answered' | 'late', timeoutMs: number): Counts {
    const now = this.#now();
    if (now >= this.#from + timeoutMs) {
      this.#before = now < this.#from + 2 * timeoutMs ? this.#current : { answered: 0, late: 0 };
      this.#current = { answered: 0, late: 0 };
      this.#from = now;
    }
    this.#current[end] += 1;
    const { answered, late } = this.#before;
    return { answered: answered + this.#current.answered, late: late + this.#current.late };
  }
}
