import { OptionError, type AcquireRequest, type Refusal } from '@solorun/core';
import { settlingRefusal } from '@solorun/core/server';
import type { Session } from '../server/session.ts';
import type { Beginning } from './beginning.ts';

export interface SettlingOptions {
  /**
   * How long a server grants nothing that has come back after a crash, or has been promoted, in ms: its locks are gone, and holders that
   * did not hear of it may trust theirs until their leases are over. 0 where nothing can overlap: in tests, say.
   *
   * @default the lease that is asked for; 30_000 for one without end
   */
  readonly settleMs?: number | undefined;
  /**
   * After which starts of the server that holds. An orderly restart tells all holders that can be reached; `'restart'` also
   * waits for those that were cut off at that moment, so that every restart costs a lease. @default 'crash'
   */
  readonly settleAfter?: 'crash' | 'restart' | undefined;
}

/** How long it takes until nothing is trusted any more that the server of a session has forgotten, in ms; 0 afterwards. */
export type SettlesInMs = (leaseMs: number | null) => number;

/** A holder without a lease learns by the timeouts of TCP and of its heartbeat that its server is gone, in ms. */
const UNBOUNDED_MS = 30_000;

/** @throws OptionError */
export function checkSettling({ settleMs, settleAfter }: SettlingOptions): void {
  if (settleMs !== undefined && !(typeof settleMs === 'number' && settleMs >= 0 && settleMs <= 2 ** 31 - 1)) {
    throw new OptionError(`settleMs is a number of milliseconds from 0, not ${String(settleMs)}.`);
  }
  if (settleAfter !== undefined && settleAfter !== 'crash' && settleAfter !== 'restart') {
    throw new OptionError(`settleAfter is 'crash' or 'restart', not ${JSON.stringify(settleAfter)}.`);
  }
}

const words: Readonly<Record<string, string>> = {
  crash: 'has come back after a crash',
  promotion: 'has been promoted',
  restart: 'has been started',
};

interface Life {
  readonly id: string;
  readonly seenAt: number;
  readonly otherHeardAt: number;
}

/**
 * Remembers the lives of the server as this process has seen them. The server tells how old its life is by a clock that may have been
 * set after the start. So the age that it tells is kept between two bounds by our own monotonic clock: the life is as old as it has
 * been seen from here, and no older than the last answer of another life.
 */
export class Settling {
  /** For `explain()`. */
  readonly caveats: readonly string[];
  readonly #settleMs: number | undefined;
  readonly #settleAfter: 'crash' | 'restart';
  readonly #onSettling: (message: string) => void;
  readonly #now: () => number;
  /** The sessions of this life that are open. */
  readonly #sessions = new Set<Pick<Session, 'answeredAt'>>();
  #life: Life | undefined;
  /** The life of which a warning was given. */
  #warnedOf: string | undefined;
  #why = '';
  /** The last answer of a session that has ended. */
  #heardAt = Number.NEGATIVE_INFINITY;

  /** @param now a monotonic clock, in ms */
  constructor(
    { settleMs, settleAfter = 'crash' }: SettlingOptions,
    onSettling: (message: string) => void,
    now: () => number = () => performance.now(),
  ) {
    this.caveats = caveatsOf(settleMs, settleAfter);
    this.#settleMs = settleMs;
    this.#settleAfter = settleAfter;
    this.#onSettling = onSettling;
    this.#now = now;
  }

  /** A session has been opened, which has just told how its server's life began. */
  note(beginning: Beginning, session: Pick<Session, 'answeredAt' | 'lost'>): SettlesInMs {
    const at = this.#now();
    const life = this.#enter(beginning.life);
    this.#sessions.add(session);
    session.lost.addEventListener(
      'abort',
      () => {
        if (this.#sessions.delete(session)) this.#heardAt = Math.max(this.#heardAt, session.answeredAt);
      },
      { once: true },
    );
    const ageMs = this.#ageOf(beginning, life, at);
    return (leaseMs) => Math.max(0, (this.#settleMs ?? leaseMs ?? UNBOUNDED_MS) - ageMs - (this.#now() - at));
  }

  /** Why nothing is granted yet. */
  refusal(settlesInMs: number, request: AcquireRequest): Refusal {
    if (this.#warnedOf !== this.#life?.id) {
      this.#warnedOf = this.#life?.id;
      this.#onSettling(
        `the server ${words[this.#why] ?? this.#why}, and may not know of locks that are still trusted: locks are granted again in ` +
          `${Math.ceil(settlesInMs / 1_000)} s.`,
      );
    }
    return settlingRefusal(settlesInMs, request);
  }

  #enter(id: string): Life {
    if (this.#life?.id === id) return this.#life;
    for (const { answeredAt } of this.#sessions) this.#heardAt = Math.max(this.#heardAt, answeredAt);
    this.#sessions.clear();
    this.#life = { id, seenAt: this.#now(), otherHeardAt: this.#heardAt };
    return this.#life;
  }

  /** How long ago the server last forgot locks, at least, in ms. */
  #ageOf({ life, upMs, forgot }: Beginning, { id, seenAt, otherHeardAt }: Life, at: number): number {
    const causes = this.#settleAfter === 'restart' ? [{ why: 'restart', life, ageMs: upMs }] : [];
    if (forgot !== undefined) causes.push(forgot);
    let ageMs = Number.POSITIVE_INFINITY;
    for (const cause of causes) {
      const mostMs = cause.life === id ? at - otherHeardAt : Number.POSITIVE_INFINITY;
      const knownMs = Math.max(at - seenAt, Math.min(mostMs, Math.max(0, cause.ageMs)));
      if (knownMs >= ageMs) continue;
      ageMs = knownMs;
      this.#why = cause.why;
    }
    return ageMs;
  }
}

function caveatsOf(settleMs: number | undefined, settleAfter: 'crash' | 'restart'): string[] {
  if (settleMs === 0) {
    return [
      'A server that has come back after a crash, or has been promoted, grants at once (settleMs: 0): holders that have not heard of it ' +
        'still trust their locks.',
    ];
  }
  const howLong = settleMs === undefined ? 'the length of the lease that is asked for' : `${settleMs} ms`;
  return [
    `A server that has come back after a crash, or has been promoted, grants nothing for ${howLong}: longer leases of the same name are ` +
      'not waited for. Of a promotion it knows by the first session after it.',
    ...(settleAfter === 'restart'
      ? []
      : [
          "A holder that is cut off while the server restarts in order trusts its lock to the end of its lease (settleAfter: 'restart' waits for that).",
        ]),
  ];
}
