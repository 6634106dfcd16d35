import { delay, unlessAborted } from '@solorun/core/server';
import type { Key } from './key.ts';
import type { LockSession } from './lock-session.ts';

/** A place in the server's queue: a session that waits, and then holds what it waited for. */
interface Wait {
  readonly leaseMs: number | null;
  /** Its session, once it has been opened. */
  on: LockSession | undefined;
  /** While the session holds the lock for this owner, who has not yet tried. */
  ready: { readonly owner: string; readonly forget: () => void } | undefined;
  /** False: the session waits for nothing and holds nothing. */
  busy: boolean;
}

export interface Waits {
  /** A place, if one is left. */
  enter(leaseMs: number | null): Wait | undefined;
  /**
   * Waits, first come first served, until the lock is there or the waiter goes. Afterwards the session holds the lock for that
   * owner until `take` or until `signal` aborts.
   */
  stand(wait: Wait, key: Key, owner: string, signal: AbortSignal): Promise<void>;
  /** The session that has the lock for this owner. */
  take(owner: string): (Wait & { readonly on: LockSession }) | undefined;
  /** The place is free for the next one; the session does not hold the lock any more. */
  leave(wait: Wait, key?: string): void;
  /** Gives the lock back first. */
  giveBack(wait: Wait & { readonly on: LockSession }, key: string): Promise<void>;
  /** The lease that this session held is over. */
  over(on: LockSession): void;
  /** A session here has got the lock, for somebody who has not yet tried. */
  holds(lock: string): boolean;
  sessions(): LockSession[];
}

export interface WaitsTerms {
  readonly places: number;
  readonly sliceMs: number;
  readonly open: (leaseMs: number | null) => Promise<LockSession>;
  /** Ends a backend. Resolves when it is gone, if the server can tell. */
  readonly terminate: (pid: number) => Promise<unknown>;
}

export function createWaits({ places, sliceMs, open, terminate }: WaitsTerms): Waits {
  const waits = new Set<Wait>();

  function leave(wait: Wait, key?: string): void {
    if (key !== undefined) wait.on?.keys.delete(key);
    wait.ready = undefined;
    wait.busy = false;
    if (wait.on === undefined || wait.on.lost.aborted) waits.delete(wait);
  }

  async function giveBack(wait: Wait & { readonly on: LockSession }, key: string): Promise<void> {
    wait.ready = undefined;
    await wait.on.free(key, new AbortController().signal).catch((error: unknown) => wait.on.session.destroy(error as Error));
    leave(wait, key);
  }

  /** Slice after slice. Who gives up takes its session along: a cancellation could arrive late and strike another statement. */
  async function queue(on: LockSession, key: Key, signal: AbortSignal): Promise<boolean> {
    let ended: Promise<void> | undefined;
    const onAbort = (): void => {
      // The backend does not hear that the wire is cut while it waits for a lock, so it is told through another one.
      ended = terminate(on.session.pid)
        .catch(() => {})
        .then(() => on.session.destroy(new Error('nobody waits any more')));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      let got: 'mine' | 'guarded' | undefined;
      while (!signal.aborted && got === undefined) got = await on.block(key, sliceMs);
      // With the lock in hand: those behind it in the queue need not ask for it in vain.
      while (!signal.aborted && got === 'guarded') if (await on.blockOnGuard(key.guard)) got = 'mine';
      return !signal.aborted;
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await ended;
    }
  }

  return {
    enter(leaseMs) {
      for (const wait of waits) if (!wait.busy && wait.on?.usable() === false) waits.delete(wait);
      for (const wait of waits) if (wait.on?.lost.aborted === true) waits.delete(wait);
      const idle = [...waits].filter(({ busy }) => !busy);
      const same = idle.find((wait) => wait.leaseMs === leaseMs);
      if (same !== undefined) {
        same.busy = true;
        return same;
      }
      if (waits.size >= places) {
        // One with another lease than is needed now.
        const spare = idle[0];
        if (spare === undefined) return undefined;
        waits.delete(spare);
        void spare.on?.session.end();
      }
      const wait: Wait = { leaseMs, on: undefined, ready: undefined, busy: true };
      waits.add(wait);
      return wait;
    },

    async stand(wait, key, owner, signal) {
      let granted = false;
      try {
        if (wait.on === undefined) {
          const opening = open(wait.leaseMs);
          try {
            wait.on = await unlessAborted(opening, signal);
          } catch (error) {
            void opening.then(
              (late) => late.session.end(),
              () => {},
            );
            if (signal.aborted) return;
            throw error;
          }
        }
        // Its server may have begun another life since the try: nobody gets a lock from the queue before it may be granted.
        const settlesInMs = wait.on.settlesInMs(wait.leaseMs);
        if (settlesInMs > 0) await delay(settlesInMs, signal);
        granted = await queue(wait.on, key, signal);
      } finally {
        if (!granted) leave(wait);
      }
      if (!granted) return;
      const { on } = wait;
      on.hold(key.lock);
      const held = wait as Wait & { readonly on: LockSession };
      const onAbort = (): void => void giveBack(held, key.lock);
      wait.ready = { owner, forget: () => signal.removeEventListener('abort', onAbort) };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    },

    take(owner) {
      for (const wait of waits) {
        if (wait.ready?.owner !== owner) continue;
        wait.ready.forget();
        wait.ready = undefined;
        if (wait.on?.lost.aborted === false) return wait as Wait & { readonly on: LockSession };
        leave(wait);
      }
      return undefined;
    },

    leave,
    giveBack,

    over(on) {
      for (const wait of waits) if (wait.on === on) leave(wait);
    },

    holds: (lock) => [...waits].some(({ ready, on }) => ready !== undefined && on?.keys.has(lock) === true),

    sessions: () => [...waits].flatMap(({ on }) => (on === undefined ? [] : [on])),
  };
}
