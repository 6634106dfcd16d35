import { Connector } from '@solorun/core/server';
import type { PostgresConnection, PostgresPool, Row, Statement } from '../server/client.ts';
import { createLogins } from '../server/login.ts';
import { createPrimary } from '../server/primary.ts';
import { openSession } from '../server/open.ts';
import type { Session } from '../server/session.ts';
import { createDoubts, type Doubts } from './doubts.ts';

/** One statement on whatever connection there is. */
export interface Link {
  ask(statement: Statement): Promise<readonly Row[]>;
  /** Notifications arrive here. */
  readonly listens: boolean;
  /** The server has become a standby: the next question goes to another connection. Gives the error back. */
  onStandby(error: Error): Error;
  /** The session whose end this error is. */
  lostBy(error: unknown): Session | undefined;
  close(): Promise<void>;
}

export interface SessionLinkTerms {
  readonly kind: string;
  readonly connection: PostgresConnection;
  /** The channel to listen on, where the connection allows it. Undefined: waiters do without notifications. */
  readonly channel: string | undefined;
  /** How long an answer may be missing before the connection is doubted, in ms. */
  readonly callMs: () => number;
  readonly onNotification: (payload: string) => void;
  /** Notifications may have been missed. */
  readonly onLoss: () => void;
}

const CONNECT_MS = 5_000;
/** Without an answer for so long a connection is given up even if no other one is answered, in ms. */
const PATIENCE_MS = 15_000;

/** One connection of our own at a time. */
export class SessionLink implements Link {
  readonly #terms: SessionLinkTerms;
  readonly #primary: ReturnType<typeof createPrimary>;
  readonly #connector: Connector<Session>;
  readonly #doubts: Doubts;
  readonly #lostBy = new WeakMap<object, Session>();

  constructor(terms: SessionLinkTerms) {
    this.#terms = terms;
    this.#primary = createPrimary(terms.kind, terms.connection);
    this.#connector = new Connector(
      () => this.#open(),
      (session) => session.end(),
    );
    this.#doubts = createDoubts(terms.callMs, (silent, isSilent) => this.#replace(silent, isSilent));
  }

  get listens(): boolean {
    return this.#terms.channel !== undefined && this.#connector.current?.direct !== false;
  }

  async ask(statement: Statement): Promise<readonly Row[]> {
    const session = this.#connector.current ?? (await this.#connector.get());
    this.#doubts.watch(session);
    return session.query(statement, PATIENCE_MS);
  }

  onStandby(error: Error): Error {
    this.#connector.current?.destroy(error);
    return error;
  }

  lostBy(error: unknown): Session | undefined {
    return this.#lostBy.get(error as object);
  }

  close(): Promise<void> {
    return this.#connector.close();
  }

  async #open(): Promise<Session> {
    const { kind, channel, onNotification } = this.#terms;
    const session = await this.#primary.reach({
      connect: (connection, _, signal) =>
        openSession({
          ...{ kind, connection, applicationName: 'solorun', allowPooler: true, timeoutMs: CONNECT_MS, signal },
          settings: { idle_session_timeout: '0', lock_timeout: String(CONNECT_MS), client_connection_check_interval: '1000' },
        }),
      prepare: async (connected) => connected,
      discard: (connected) => connected.destroy(new Error('another host has been taken')),
    });
    session.onNotification((heard, payload) => {
      if (heard === channel) onNotification(payload);
    });
    session.lost.addEventListener('abort', () => this.#onLost(session), { once: true });
    if (session.direct && channel !== undefined) await session.query({ text: `LISTEN ${channel}` }, CONNECT_MS);
    return session;
  }

  #onLost(session: Session): void {
    this.#lostBy.set(session.lost.reason as object, session);
    this.#terms.onLoss();
  }

  /** A connection beside the silent one decides whether that one is dead or the server slow. */
  async #replace(silent: Session, isSilent: () => boolean): Promise<void> {
    const other = await this.#open();
    if (!isSilent()) return other.end();
    await this.#connector.replace(other);
    silent.destroy(new Error(`no answer within ${Math.round(this.#terms.callMs())} ms, while another connection had one`));
  }
}

/** The pool is the user's: we neither set anything on its connections, nor prepare, nor close it. */
export class PoolLink implements Link {
  readonly listens: boolean = false;
  readonly #pool: PostgresPool;
  readonly #logins: ReturnType<typeof createLogins>;

  constructor(kind: string, pool: PostgresPool) {
    this.#pool = pool;
    this.#logins = createLogins(kind);
  }

  async ask({ text, values = [] }: Statement): Promise<readonly Row[]> {
    try {
      const { rows } = await this.#pool.query(text, values);
      this.#logins.accepted();
      return rows as readonly Row[];
    } catch (error) {
      throw this.#logins.errorOf(error);
    }
  }

  onStandby(error: Error): Error {
    return error;
  }

  lostBy(): undefined {}

  async close(): Promise<void> {}
}
