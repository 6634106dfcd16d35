import { OptionError, type AcquireRequest, type Refusal } from '@solorun/core';
import type { Session } from './session.ts';

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

/** How the server's life began: what a session learns when it is opened. */
export interface Beginning {
  /** Tells this life from others. */
  readonly life: string;
  /** How long it has lasted, by the server's clock, which may have been set since. */
  readonly upMs: number;
  /** What made the server forget locks without a word to their holders. Undefined: nothing did. */
  readonly forgot:
    | {
        /** `crash` or `promotion`. */
        readonly why: string;
        /** The life in which it was, this one or one before. */
        readonly life: string;
        /** How long ago it was at least, by the server's clock. */
        readonly ageMs: number;
      }
    | undefined;
}

/** How long it takes until nothing is trusted any more that the server of a session has forgotten, in ms; 0 afterwards. */
export type SettlesInMs = (leaseMs: number | null) => number;

export interface Settling {
  /** A session has been opened, which has just told how its server's life began. */
  note(beginning: Beginning, session: Pick<Session, 'answeredAt' | 'lost'>): SettlesInMs;
  /** Why nothing is granted yet. */
  refusal(settlesInMs: number, request: AcquireRequest): Refusal;
  /** For `explain()`. */
  readonly caveats: readonly string[];
}

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

/**
 * Remembers the lives of the server as this process has seen them. The server tells how old its life is by a clock that may have been
 * set after the start. So the age that it tells is kept between two bounds by our own monotonic clock: the life is as old as it has
 * been seen from here, and no older than the last answer of another life.
 *
 * @param now a monotonic clock, in ms
 */
export function createSettling(
  { settleMs, settleAfter = 'crash' }: SettlingOptions,
  onSettling: (message: string) => void,
  now: () => number = () => performance.now(),
): Settling {
  let life: { readonly id: string; readonly seenAt: number; readonly otherHeardAt: number } | undefined;
  let told: string | undefined;
  let why = '';
  /** Those of this life that are open. */
  const sessions = new Set<Pick<Session, 'answeredAt'>>();
  /** The last answer of one that has ended. */
  let heardAt = Number.NEGATIVE_INFINITY;

  function enter(id: string): NonNullable<typeof life> {
    if (life?.id === id) return life;
    for (const { answeredAt } of sessions) heardAt = Math.max(heardAt, answeredAt);
    sessions.clear();
    life = { id, seenAt: now(), otherHeardAt: heardAt };
    return life;
  }

  return {
    note(beginning, session) {
      const at = now();
      const { id, seenAt, otherHeardAt } = enter(beginning.life);
      sessions.add(session);
      session.lost.addEventListener(
        'abort',
        () => {
          if (sessions.delete(session)) heardAt = Math.max(heardAt, session.answeredAt);
        },
        { once: true },
      );
      const causes = settleAfter === 'restart' ? [{ why: 'restart', life: id, ageMs: beginning.upMs }] : [];
      if (beginning.forgot !== undefined) causes.push(beginning.forgot);
      let ageMs = Number.POSITIVE_INFINITY;
      for (const cause of causes) {
        const mostMs = cause.life === id ? at - otherHeardAt : Number.POSITIVE_INFINITY;
        const knownMs = Math.max(at - seenAt, Math.min(mostMs, Math.max(0, cause.ageMs)));
        if (knownMs >= ageMs) continue;
        ageMs = knownMs;
        why = cause.why;
      }
      return (leaseMs) => Math.max(0, (settleMs ?? leaseMs ?? UNBOUNDED_MS) - ageMs - (now() - at));
    },

    refusal(settlesInMs, { occurrence }) {
      if (told !== life?.id) {
        told = life?.id;
        onSettling(
          `the server ${words[why] ?? why}, and may not know of locks that are still trusted: locks are granted again in ` +
            `${Math.ceil(settlesInMs / 1_000)} s.`,
        );
      }
      return occurrence === undefined
        ? { acquired: false, reason: 'held', expiresInMs: settlesInMs, settling: true }
        : { acquired: false, reason: 'early', earlyMs: settlesInMs, settling: true };
    },

    caveats: caveatsOf(settleMs, settleAfter),
  };
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
