import type { Identity } from '@solorun/core';
import { Connector } from '@solorun/core/server';
import type { Row, Statement } from '../server/client.ts';
import type { Opening } from './opening.ts';
import { LockSession, type LockSessionTerms } from './session.ts';

export interface SessionsTerms extends Omit<LockSessionTerms, 'leaseMs' | 'bare' | 'settlesInMs' | 'prepare' | 'onIdle'> {
  readonly opening: Opening;
  /** How long a wait in the server's queue may go on, in ms. */
  readonly waitSliceMs: number;
  /** A session that has been let go is being ended. */
  readonly onIdle: (ending: Promise<void>) => void;
  readonly onNotification: (payload: string) => void;
  readonly onLost: (on: LockSession) => void;
}

/** The sessions of a provider that hold locks: one for each length of lease, since the server knows one time-out per session. */
export class Sessions {
  /** Of the process that locks, for people who look into `pg_stat_activity`. */
  identity: Identity | undefined;
  readonly #terms: SessionsTerms;
  readonly #mains = new Map<number | null, Connector<LockSession>>();

  constructor(terms: SessionsTerms) {
    this.#terms = terms;
  }

  /** The session of this lease, if it is open. */
  current(leaseMs: number | null): LockSession | undefined {
    return this.#mainFor(leaseMs).current;
  }

  get(leaseMs: number | null, signal?: AbortSignal): Promise<LockSession> {
    return this.#mainFor(leaseMs).get(signal);
  }

  /** For questions that need no particular session. */
  any(signal?: AbortSignal): Promise<LockSession> {
    for (const main of this.#mains.values()) if (main.current !== undefined) return main.get(signal);
    const main = this.#mains.values().next().value ?? this.#mainFor(null);
    return main.get(signal);
  }

  async query(statement: Statement): Promise<readonly Row[]> {
    return (await this.any()).query(statement);
  }

  /** @param isForWaiting it stands in the server's queue */
  async open(leaseMs: number | null, isForWaiting: boolean): Promise<LockSession> {
    const { opening, waitSliceMs, onIdle, onNotification, onLost, channel, ...terms } = this.#terms;
    const lockTimeoutMs = isForWaiting ? waitSliceMs : undefined;
    const { session, bare, settlesInMs } = await opening.open({ leaseMs, identity: this.identity, lockTimeoutMs });
    const made = new LockSession(session, {
      ...{ ...terms, channel, leaseMs, bare, settlesInMs },
      prepare: () => opening.prepare(session),
      onIdle: () => onIdle(session.end()),
    });
    session.onNotification((heard, payload) => {
      if (heard === channel) onNotification(payload);
    });
    made.lost.addEventListener(
      'abort',
      () => {
        // A pooler may share connections by the time of the next session.
        if (!made.isIdle || session.proxied) opening.forgetPath();
        if (made.isBare) opening.forgetMissing();
        onLost(made);
      },
      { once: true },
    );
    return made;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#mains.values()].map((main) => main.close()));
  }

  #mainFor(leaseMs: number | null): Connector<LockSession> {
    let main = this.#mains.get(leaseMs);
    if (main === undefined) {
      main = new Connector(
        () => this.open(leaseMs, false),
        ({ session }) => session.end(),
      );
      this.#mains.set(leaseMs, main);
    }
    return main;
  }
}
