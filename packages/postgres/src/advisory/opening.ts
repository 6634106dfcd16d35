import type { Identity } from '@solorun/core';
import type { PostgresConnection, Row, Statement } from '../server/client.ts';
import { PoolerDetectedError, readOnlyError, standbyError } from '../server/errors.ts';
import { openSession } from '../server/open.ts';
import { findPath, type Path } from '../server/pooler.ts';
import { createPrimary } from '../server/primary.ts';
import { prepareSchema, schemaRemedy, unusableNow } from '../server/prepare.ts';
import type { Session } from '../server/session.ts';
import { beginningWithoutTables, leapIfNeeded, leapOver, type Beginning } from './beginning.ts';
import type { Settling, SettlesInMs } from './settling.ts';

interface Opened {
  readonly session: Session;
  /** Without tables of ours. */
  readonly bare: boolean;
  readonly settlesInMs: SettlesInMs;
}

interface LockSettings {
  readonly leaseMs: number | null;
  /** The session bears its name, for people who look into `pg_stat_activity`. */
  readonly identity: Identity | undefined;
  /** How long a wait for a lock may go on, in ms. */
  readonly lockTimeoutMs: number | undefined;
}

export interface OpeningTerms {
  readonly kind: string;
  readonly connection: PostgresConnection;
  readonly schema: string;
  readonly settling: Settling;
  readonly onWarning: (message: string) => void;
}

const CONNECT_MS = 5_000;
const OLD_SERVER = 140_000;

/** Opens the sessions that hold locks, and knows what was learned of the server on the way. */
export class Opening {
  readonly #terms: OpeningTerms;
  readonly #primary: ReturnType<typeof createPrimary>;
  /** By host: what stands between this process and the server. */
  readonly #paths = new Map<string, Promise<Path>>();
  #missing: string | undefined;
  /** There were tables once: this program does without them no more. */
  #hadTables = false;
  #highest = 0n;
  #version = Number.POSITIVE_INFINITY;

  constructor(terms: OpeningTerms) {
    this.#terms = terms;
    this.#primary = createPrimary(terms.kind, terms.connection);
  }

  /** The table or the right that the newest session lacked to keep records. */
  get missing(): string | undefined {
    return this.#missing;
  }

  /** The server does not end the sessions of silent holders. */
  get isOld(): boolean {
    return this.#version < OLD_SERVER;
  }

  /**
   * @throws LoginRefusedError; PoolerDetectedError; ProviderError for a hot standby or a server that is too old
   */
  open(settings: LockSettings): Promise<Opened> {
    return this.#primary.reach({
      connect: (one, host, signal) => this.#connect(host, one, settings, signal),
      prepare: (session) => this.#makeReady(session),
      discard: (session) => session.destroy(new Error('another host has been taken')),
    });
  }

  /**
   * Sees to the tables on a session that is open, and makes them if it may. False: there are none, and never were.
   *
   * @throws ProviderError while the database is read-only, or where tables that this program has used cannot be used now: plain locks
   * have fences that would go back
   */
  async prepare(session: Session): Promise<boolean> {
    return (await this.#prepare(session)) !== undefined;
  }

  /** A fence was handed out: those of tables that are made anew begin above it. */
  handedOut(fence: bigint): void {
    if (fence > this.#highest) this.#highest = fence;
  }

  /** The next session may come another way. */
  forgetPath(): void {
    this.#paths.clear();
  }

  /** No session is open that lacks something: the next one finds out. */
  forgetMissing(): void {
    this.#missing = undefined;
  }

  async #connect(host: string, one: PostgresConnection, settings: LockSettings, signal: AbortSignal): Promise<Session> {
    const { kind } = this.#terms;
    const found = await this.#pathTo(host, one, signal);
    if (found !== 'direct' && found !== 'session pooling') {
      // Asked again next time: it may have been put right.
      this.#paths.delete(host);
      throw new PoolerDetectedError(kind, `the connection goes through ${withArticle[found]}`);
    }
    const session = await openSession({
      kind,
      connection: one,
      applicationName: sessionName(settings.identity),
      allowPooler: false,
      timeoutMs: CONNECT_MS,
      signal,
      settings: settingsOf(settings),
    });
    if (session.proxied && found === 'direct') {
      // Looked at again before the next session.
      this.#paths.delete(host);
      const error = new Error('the connection goes through a proxy now, which it did not before');
      session.destroy(error);
      throw error;
    }
    return session;
  }

  #pathTo(host: string, one: PostgresConnection, signal: AbortSignal): Promise<Path> {
    const path = this.#paths.get(host) ?? findPath(one, CONNECT_MS, signal);
    this.#paths.set(host, path);
    return path.catch((error: unknown) => {
      this.#paths.delete(host);
      throw error;
    });
  }

  async #makeReady(session: Session): Promise<Opened> {
    const { kind, settling, onWarning } = this.#terms;
    try {
      if (session.version < OLD_SERVER && !this.isOld) {
        onWarning(
          `${kind}: the server is older than Postgres 14 and knows no idle_session_timeout, so a paused holder keeps its lock ` +
            'until it continues, and one behind a cut cable until TCP gives up. Upgrade the server, or use postgresLease.',
        );
      }
      this.#version = session.version;
      const told = await this.#prepare(session);
      const beginning = told ?? (await beginningWithoutTables((statement) => session.query(statement, CONNECT_MS)));
      return { session, bare: told === undefined, settlesInMs: settling.note(beginning, session) };
    } catch (error) {
      session.destroy(error as Error);
      throw error;
    }
  }

  /** How the server's life began, as its tables tell. Undefined: there are none. */
  async #prepare(session: Session): Promise<Beginning | undefined> {
    const { kind, schema } = this.#terms;
    const ask = (statement: Statement): Promise<readonly Row[]> => session.query(statement, CONNECT_MS);
    const state = await prepareSchema(ask, schema, 'advisory');
    // It has become one since it was asked.
    if (state === 'standby') {
      const error = standbyError(kind);
      session.destroy(error);
      throw error;
    }
    if (state === 'read-only') throw readOnlyError(kind);
    if (state !== 'ready') {
      this.#doWithout(state.missing);
      return undefined;
    }
    try {
      const beginning = await leapIfNeeded(ask, schema);
      const wasBare = this.#missing !== undefined;
      if (this.#highest > 0n || wasBare) await leapOver(ask, schema, this.#highest, wasBare);
      [this.#missing, this.#hadTables] = [undefined, true];
      return beginning;
    } catch (error) {
      // Neither leaves its transaction open on a session that goes on. One that has ended says so by itself.
      await ask({ text: 'ROLLBACK' }).catch((worse: unknown) => session.destroy(worse as Error));
      throw error;
    }
  }

  #doWithout(missing: string): void {
    const { kind, onWarning } = this.#terms;
    if (this.#hadTables) throw unusableNow(kind, missing);
    if (this.#missing !== missing) {
      onWarning(
        `${schemaRemedy(kind, missing).message} Until then there are locks, but no records and no occurrences, and fences may go back when the server crashes.`,
      );
    }
    this.#missing = missing;
  }
}

function settingsOf({ leaseMs, lockTimeoutMs }: LockSettings): Readonly<Record<string, string>> {
  const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1_000)));
  return {
    idle_session_timeout: String(Math.ceil(leaseMs ?? 0)),
    // Dead peers that the lease does not cover: a session without one, or in the middle of a statement.
    tcp_keepalives_idle: seconds((leaseMs ?? 20_000) / 4),
    tcp_keepalives_interval: seconds((leaseMs ?? 20_000) / 4),
    tcp_keepalives_count: '3',
    tcp_user_timeout: String(Math.max(1_000, Math.ceil(leaseMs ?? 20_000))),
    client_connection_check_interval: '1000',
    // A plain lock is flushed by nothing; what must survive a crash says so itself, and fences leap over it.
    synchronous_commit: 'off',
    lock_timeout: String(lockTimeoutMs === undefined ? CONNECT_MS : Math.round(lockTimeoutMs * (0.9 + Math.random() / 5))),
  };
}

const withArticle: Record<Exclude<Path, 'direct' | 'session pooling'>, string> = {
  'transaction pooling': 'a pooler in transaction mode',
  'statement pooling': 'a pooler in statement mode',
  'one shared backend': 'something that serves all its clients with one backend',
  'no real locks': 'something that grants one lock to two sessions',
};

/** At most 63 bytes of it are kept, so what matters comes first. */
function sessionName(identity: Identity | undefined): string {
  if (identity === undefined) return 'solorun';
  const { host, pid, label } = identity;
  return `solorun ${pid}@${host}${label === undefined ? '' : ` ${label}`}`.replace(/[^ -~]/g, '?').slice(0, 63);
}
