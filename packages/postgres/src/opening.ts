import type { Identity } from '@solorun/core';
import type { PostgresConnection, Row, Statement } from './client.ts';
import { PoolerDetectedError } from './errors.ts';
import { findPath, type Path } from './pooler.ts';
import { createPrimary } from './primary.ts';
import { beginningWithoutTables, leapIfNeeded, leapOver, prepareSchema, schemaRemedy, unusableNow } from './schema.ts';
import { openSession, readOnlyError, standbyError, type Session } from './session.ts';
import type { Beginning, Settling, SettlesInMs } from './settling.ts';

/** Opens the sessions that hold locks, and knows what was learned of the server on the way. */
export interface Opening {
  /**
   * @throws LoginRefusedError; PoolerDetectedError; ProviderError for a hot standby or a server that is too old
   */
  open(terms: LockSettings): Promise<Opened>;
  /**
   * Sees to the tables on a session that is open, and makes them if it may. False: there are none, and never were.
   *
   * @throws ProviderError while the database is read-only, or where tables that this program has used cannot be used now: plain locks
   * have fences that would go back
   */
  prepare(session: Session): Promise<boolean>;
  /** A fence was handed out: those of tables that are made anew begin above it. */
  handedOut(fence: bigint): void;
  /** The next session may come another way. */
  forgetPath(): void;
  /** What the last session lacked to keep records. */
  missing(): string | undefined;
  /** No session is open that lacks something: the next one finds out. */
  forgetMissing(): void;
  /** The server does not end the sessions of those who are silent. */
  isOld(): boolean;
}

interface Opened {
  readonly session: Session;
  /** Without a schema of ours. */
  readonly plain: boolean;
  readonly settlesInMs: SettlesInMs;
}

interface LockSettings {
  readonly leaseMs: number | null;
  /** Whom the session is named after, for those who look into `pg_stat_activity`. */
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

export function createOpening({ kind, connection, schema, settling, onWarning }: OpeningTerms): Opening {
  const primary = createPrimary(kind, connection);
  const paths = new Map<string, Promise<Path>>();
  let missing: string | undefined;
  /** There were tables once: this program does without them no more. */
  let hadTables = false;
  let highest = 0n;
  let version = Number.POSITIVE_INFINITY;

  async function connectTo(
    host: string,
    one: PostgresConnection,
    { leaseMs, identity, lockTimeoutMs }: LockSettings,
    signal: AbortSignal,
  ): Promise<Session> {
    const path = paths.get(host) ?? findPath(one, CONNECT_MS, signal);
    paths.set(host, path);
    const found = await path.catch((error: unknown) => {
      paths.delete(host);
      throw error;
    });
    if (found !== 'direct' && found !== 'session pooling') {
      // Asked again next time: it may have been put right.
      paths.delete(host);
      throw new PoolerDetectedError(kind, `the connection goes through ${withArticle[found]}`);
    }
    const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1_000)));
    const session = await openSession({
      kind,
      connection: one,
      applicationName: sessionName(identity),
      allowPooler: false,
      timeoutMs: CONNECT_MS,
      signal,
      settings: {
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
      },
    });
    if (session.proxied && found === 'direct') {
      // Looked at again before the next session.
      paths.delete(host);
      const error = new Error('the connection goes through a proxy now, which it did not before');
      session.destroy(error);
      throw error;
    }
    return session;
  }

  async function makeReady(session: Session): Promise<Opened> {
    try {
      if (session.version < OLD_SERVER && version >= OLD_SERVER) {
        onWarning(
          `${kind}: the server is older than Postgres 14 and knows no idle_session_timeout, so a paused holder keeps its lock ` +
            'until it continues, and one behind a cut cable until TCP gives up. Upgrade the server, or use postgresLease.',
        );
      }
      version = session.version;
      const told = await prepare(session);
      const beginning = told ?? (await beginningWithoutTables((statement) => session.query(statement, CONNECT_MS)));
      return { session, plain: told === undefined, settlesInMs: settling.note(beginning, session) };
    } catch (error) {
      session.destroy(error as Error);
      throw error;
    }
  }

  /** How the server's life began, as its tables tell. Undefined: there are none. */
  async function prepare(session: Session): Promise<Beginning | undefined> {
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
      if (hadTables) throw unusableNow(kind, state.missing);
      if (missing !== state.missing) {
        onWarning(
          `${schemaRemedy(kind, state.missing).message} Until then there are locks, but no records and no occurrences, and fences may go back when the server crashes.`,
        );
      }
      missing = state.missing;
      return undefined;
    }
    try {
      const beginning = await leapIfNeeded(ask, schema);
      if (highest > 0n || missing !== undefined) await leapOver(ask, schema, highest, missing !== undefined);
      [missing, hadTables] = [undefined, true];
      return beginning;
    } catch (error) {
      // Neither leaves its transaction open on a session that goes on. One that has ended says so by itself.
      await ask({ text: 'ROLLBACK' }).catch((worse: unknown) => session.destroy(worse as Error));
      throw error;
    }
  }

  return {
    open: (settings) =>
      primary.reach({
        connect: (one, host, signal) => connectTo(host, one, settings, signal),
        prepare: makeReady,
        discard: (session) => session.destroy(new Error('another host has been taken')),
      }),
    prepare: async (session) => (await prepare(session)) !== undefined,
    handedOut(fence) {
      if (fence > highest) highest = fence;
    },
    forgetPath: () => paths.clear(),
    missing: () => missing,
    forgetMissing: () => (missing = undefined),
    isOld: () => version < OLD_SERVER,
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
