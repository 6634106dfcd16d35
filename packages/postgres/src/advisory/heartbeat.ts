import type { Row, Statement } from '../server/client.ts';
import { PoolerDetectedError, standbyError } from '../server/errors.ts';
import type { Session } from '../server/session.ts';

export interface HeartbeatTerms {
  readonly kind: string;
  readonly session: Session;
  readonly leaseMs: number | null;
  /** How long the session is kept while it holds nothing and answers nothing, in ms. */
  readonly idleMs: number;
  readonly ask: (statement: Statement) => Promise<readonly Row[]>;
  /** It waits in the server's queue: nothing can be asked, and the server does not end it. */
  readonly isBlocked: () => boolean;
  /** It holds locks, or tries are about to use it. */
  readonly isNeeded: () => boolean;
  /** Every half a second at most, while the session is kept. */
  readonly onTick: (now: number) => void;
  /** Ends the session. */
  readonly onIdle: () => void;
}

/** Without a lease to keep, in ms. */
const HEARTBEAT_MS = 10_000;
/** Two of these within a lease may fail. */
const HEARTBEATS_PER_LEASE = 4;
/** How often the session is looked after, in ms. */
const TICK_MS = 500;

/** Keeps a session and all locks on it, and lets it go when nothing has needed it for long. */
export class Heartbeat {
  readonly #terms: HeartbeatTerms;
  readonly #everyMs: number;
  #usedAt = performance.now();
  #isBeating = false;
  #isIdle = false;

  constructor(terms: HeartbeatTerms) {
    const { leaseMs, session } = terms;
    this.#terms = terms;
    this.#everyMs = leaseMs === null ? HEARTBEAT_MS : leaseMs / HEARTBEATS_PER_LEASE;
    const timer = setInterval(() => this.#tick(), Math.min(this.#everyMs, TICK_MS)).unref();
    session.lost.addEventListener('abort', () => clearInterval(timer), { once: true });
  }

  /** The session was let go, holding nothing and asked for nothing: its end is no loss. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  /** The session is asked something. */
  used(): void {
    this.#usedAt = performance.now();
  }

  /** A heartbeat that comes back from another backend, or from a server that has become a standby, is the end. */
  checkBackend(row: Row | undefined): void {
    const { kind, session } = this.#terms;
    if (row?.['standby'] === 'true') {
      session.destroy(standbyError(kind));
    } else if (Number(row?.['pid']) !== session.pid) {
      session.destroy(new PoolerDetectedError(kind, 'the session has been moved to another backend'));
    }
    session.lost.throwIfAborted();
  }

  #tick(): void {
    const { session, idleMs, isBlocked, isNeeded, onIdle, onTick } = this.#terms;
    const now = performance.now();
    if (isNeeded() || isBlocked() || (session.busy && !this.#isBeating)) this.#usedAt = now;
    if (now - this.#usedAt > idleMs) {
      this.#isIdle = true;
      return onIdle();
    }
    onTick(now);
    // Each question of the meantime was a sign of life, too, and one that is under way is one.
    if (isBlocked() || session.busy || now - session.sentAt < this.#everyMs) return;
    this.#beat();
  }

  #beat(): void {
    this.#isBeating = true;
    const text = 'SELECT pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby';
    this.#terms
      .ask({ name: 'solorun_beat', text })
      .then(([row]) => this.checkBackend(row))
      // A session that ends says so through `lost`; one that only failed once is asked again.
      .catch(() => {})
      .finally(() => (this.#isBeating = false));
  }
}
