import { delay, unlessAborted } from '@solorun/core/server';
import type { Key } from '../server/keys.ts';
import type { LockSession } from './session.ts';

/** A place in the server's queue: a session that waits, and then holds what it waited for. */
export interface Wait {
  readonly leaseMs: number | null;
  /** Its session, once it has been opened. */
  on: LockSession | undefined;
  /** While the session holds the lock for this owner, who has not yet tried. */
  ready: { readonly owner: string; readonly forget: () => void } | undefined;
  /** False: the session waits for nothing and holds nothing. */
  busy: boolean;
}

/** One whose session is open. */
export interface WaitOn extends Wait {
  on: LockSession;
}

interface Standing {
  readonly wait: Wait;
  readonly on: LockSession;
  readonly key: Key;
  readonly owner: string;
}

export interface QueueTerms {
  readonly places: number;
  readonly sliceMs: number;
  readonly open: (leaseMs: number | null) => Promise<LockSession>;
  /** Ends a backend. Resolves when it is gone, if the server can tell. */
  readonly terminate: (pid: number) => Promise<unknown>;
}

/** The places of this process in the server's own queue: one session for each name that is waited for so. */
export class Queue {
  readonly #terms: QueueTerms;
  readonly #waits = new Set<Wait>();

  constructor(terms: QueueTerms) {
    this.#terms = terms;
  }

  /** A place, if one is left. */
  enter(leaseMs: number | null): Wait | undefined {
    this.#dropDead();
    const idle = [...this.#waits].filter(({ busy }) => !busy);
    const same = idle.find((wait) => wait.leaseMs === leaseMs);
    if (same !== undefined) {
      same.busy = true;
      return same;
    }
    if (this.#waits.size >= this.#terms.places) {
      // One with another lease than is needed now.
      const spare = idle[0];
      if (spare === undefined) return undefined;
      this.#waits.delete(spare);
      void spare.on?.session.end();
    }
    const wait: Wait = { leaseMs, on: undefined, ready: undefined, busy: true };
    this.#waits.add(wait);
    return wait;
  }

  /**
   * Waits, first come first served, until the lock is there or the waiter goes. Afterwards the session holds the lock for that
   * owner until `take` or until `signal` aborts.
   */
  async stand(wait: Wait, key: Key, owner: string, signal: AbortSignal): Promise<void> {
    let granted = false;
    try {
      const on = await this.#sessionOf(wait, signal);
      if (on === undefined) return;
      // Its server may have begun another life since the try: nobody gets a lock from the queue before it may be granted.
      const settlesInMs = on.settlesInMs(wait.leaseMs);
      if (settlesInMs > 0) await delay(settlesInMs, signal);
      granted = await this.#wait(on, key, signal);
      if (granted) this.#keep({ wait, on, key, owner }, signal);
    } finally {
      if (!granted) this.leave(wait);
    }
  }

  /** The session that has the lock for this owner. */
  take(owner: string): WaitOn | undefined {
    for (const wait of this.#waits) {
      if (wait.ready?.owner !== owner) continue;
      wait.ready.forget();
      wait.ready = undefined;
      if (wait.on?.lost.aborted === false) return wait as WaitOn;
      this.leave(wait);
    }
    return undefined;
  }

  /** The place is free for the next one; the session does not hold the lock any more. */
  leave(wait: Wait, key?: string): void {
    if (key !== undefined) wait.on?.drop(key);
    wait.ready = undefined;
    wait.busy = false;
    if (wait.on === undefined || wait.on.lost.aborted) this.#waits.delete(wait);
  }

  /** Gives the lock back first. */
  async giveBack(wait: WaitOn, key: string): Promise<void> {
    wait.ready = undefined;
    await wait.on.free(key, new AbortController().signal).catch((error: unknown) => wait.on.session.destroy(error as Error));
    this.leave(wait, key);
  }

  /** The lease that this session held is over. */
  over(on: LockSession): void {
    for (const wait of this.#waits) if (wait.on === on) this.leave(wait);
  }

  /** A session here has got the lock, for an owner who has not yet tried. */
  holds(lock: string): boolean {
    return [...this.#waits].some(({ ready, on }) => ready !== undefined && on?.holds(lock) === true);
  }

  sessions(): LockSession[] {
    return [...this.#waits].flatMap(({ on }) => (on === undefined ? [] : [on]));
  }

  #dropDead(): void {
    for (const wait of this.#waits) if (!wait.busy && wait.on?.usable() === false) this.#waits.delete(wait);
    for (const wait of this.#waits) if (wait.on?.lost.aborted === true) this.#waits.delete(wait);
  }

  /** Opens it if need be. Undefined: the waiter has gone. */
  async #sessionOf(wait: Wait, signal: AbortSignal): Promise<LockSession | undefined> {
    if (wait.on !== undefined) return wait.on;
    const opening = this.#terms.open(wait.leaseMs);
    try {
      wait.on = await unlessAborted(opening, signal);
      return wait.on;
    } catch (error) {
      void opening.then(
        (late) => late.session.end(),
        () => {},
      );
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** Slice after slice. A waiter that gives up takes its session along: a cancellation could arrive late and strike another statement. */
  async #wait(on: LockSession, key: Key, signal: AbortSignal): Promise<boolean> {
    const { sliceMs, terminate } = this.#terms;
    let ended: Promise<void> | undefined;
    const onAbort = (): void => {
      // The backend does not hear that the wire is cut while it waits for a lock, so another session ends it.
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

  /** Holds the lock for its owner, who is about to try. */
  #keep({ wait, on, key, owner }: Standing, signal: AbortSignal): void {
    on.hold(key.lock);
    const onAbort = (): void => void this.giveBack(wait as WaitOn, key.lock);
    wait.ready = { owner, forget: () => signal.removeEventListener('abort', onAbort) };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  }
}
