import { channel } from 'node:diagnostics_channel';
import { messageOf, OptionError, quote, type LeaseLostError } from './errors.ts';
import type { Occurrence } from './lease.ts';
import type { MissedOccurrence } from './missed.ts';
import type { Holder, Identity, Outcome, Pause, Schedule } from './provider.ts';

interface About {
  /** The lock's name, without the namespace. */
  readonly name: string;
  readonly provider: string;
}

/** The events of a solo, by name. The same objects are published on `node:diagnostics_channel` as `solorun:<event>`. */
export interface SoloEvents {
  acquired: About & { readonly fence: bigint; readonly occurrence: Occurrence | undefined };
  /** Another holder has the lock; emitted once per call, at the first refusal. */
  busy: About & {
    readonly holder: Holder | undefined;
    readonly heldForMs: number | undefined;
    /** As `detail` of a refusal: the obstacle, where that is no holder. */
    readonly detail: string | undefined;
  };
  /** A run did not start. */
  skipped: About & {
    readonly reason: SkipReason;
    readonly at: Date | undefined;
    readonly holder: Holder | undefined;
    /** For `held`: how long it has been held, by the provider's clock. */
    readonly heldForMs: number | undefined;
    /** For `held`: when the lease in the way ends unless it is renewed, by the provider's clock. Undefined: it does not expire. */
    readonly expiresInMs: number | undefined;
    readonly detail: string | undefined;
    /** The pause that is in the way, for `paused`. */
    readonly paused: Pause | undefined;
  };
  /** An operator has paused the name; emitted once per pause and solo, at the first run that it keeps from starting. */
  paused: About & Pause;
  /** A lease can no longer be trusted. */
  lost: About & { readonly fence: bigint; readonly error: LeaseLostError };
  released: About & { readonly fence: bigint; readonly outcome: Outcome['result']; readonly heldMs: number };
  /** A handler rejected, or its lease was lost under it. */
  failed: About & { readonly fence: bigint; readonly occurrence: Occurrence | undefined; readonly error: unknown };
  /**
   * A scheduled time was never completed, and no longer will be: a later one has been claimed. Either its run was started and did not
   * end well, or no replica asked for it (`unclaimed`: the fleet was down, say, or the name was paused), which shows only of schedules
   * that told their `schedule` or `nextDueAt`, the latest 100. Emitted by the replica that claimed the later one, so once in the fleet (again only if that claim is
   * undone).
   */
  missed: About & { readonly occurrence: MissedOccurrence };
  /**
   * The name is claimed for another schedule than the one that is asked for here, after it was claimed for this one: two schedules
   * share a name, or replicas do not agree on their schedule. The hashes are digests, as `scheduleHash` of the record.
   */
  scheduleConflict: About & {
    readonly scheduleHash: string;
    /** The one that is asked for here, if the caller gave it. */
    readonly schedule: Schedule | undefined;
    readonly otherScheduleHash: string;
    /** The one that the name is claimed for, if the record has it. */
    readonly otherSchedule: Schedule | undefined;
    /** Of the other schedule: the holder in the record, if it is known. */
    readonly holder: Holder | undefined;
    /** The process that asks. */
    readonly here: Identity;
  };
  /** An occurrence was asked for before its time by the provider's clock: this machine's clock runs ahead. */
  drift: About & { readonly earlyMs: number };
  /** A renewal, a release or a try has no confirmed answer. The lease's own clock decides what that means. */
  unconfirmed: About & { readonly operation: 'renew' | 'release' | 'acquire' | 'wait'; readonly error: unknown };
  /** A handler still runs `graceMs` after it was asked to stop. Its lease is kept. */
  stuck: About & { readonly fence: bigint; readonly runningMs: number };
}

/**
 * Why a run did not start. `held`: another holder. `done`: that occurrence has run. `superseded`: a later one was claimed.
 * `exhausted`: its attempts are used up. `early`: not yet due by the provider's clock. `paused`: an operator has paused the name.
 * `closed`: the solo is closing.
 */
export type SkipReason = 'held' | 'done' | 'superseded' | 'exhausted' | 'early' | 'paused' | 'closed';

export type SoloEventName = keyof SoloEvents;

const names = [
  'acquired',
  'busy',
  'skipped',
  'paused',
  'lost',
  'released',
  'failed',
  'missed',
  'scheduleConflict',
  'drift',
  'unconfirmed',
  'stuck',
] as const satisfies readonly SoloEventName[];

const channels = Object.fromEntries(names.map((name) => [name, channel(`solorun:${name}`)])) as Record<
  SoloEventName,
  ReturnType<typeof channel>
>;

export interface Events {
  on<E extends SoloEventName>(event: E, listener: (detail: SoloEvents[E]) => void): () => void;
  emit<E extends SoloEventName>(event: E, detail: SoloEvents[E]): void;
}

export function createEvents(): Events {
  const listeners = new Map<SoloEventName, Set<(detail: never) => void>>();
  return {
    on(event, listener) {
      if (!names.includes(event))
        throw new OptionError(`There is no event ${quote(String(event))}; there are ${names.join(', ')}.`);
      if (typeof listener !== 'function') throw new OptionError(`A listener of '${event}' is a function, not ${typeof listener}.`);
      const set = listeners.get(event) ?? new Set();
      listeners.set(event, set);
      set.add(listener);
      return () => set.delete(listener);
    },
    emit(event, detail) {
      if (channels[event].hasSubscribers) channels[event].publish(detail);
      const set = listeners.get(event);
      if (set === undefined) return;
      // Only the listeners of this moment: one that a listener adds hears the next event.
      for (const listener of [...set]) {
        void callQuietly(`A listener of Solorun's '${event}' event`, () =>
          (listener as (d: SoloEvents[typeof event]) => unknown)(detail),
        );
      }
    },
  };
}

/** Calls a user's function. If it throws, or its promise rejects, a warning reports that and all else goes on, above all a release. */
export async function callQuietly(what: string, call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    process.emitWarning(`${what} failed: ${messageOf(error)}`, {
      code: 'SOLORUN_LISTENER',
      ...(error instanceof Error && error.stack !== undefined ? { detail: error.stack } : {}),
    });
  }
}
