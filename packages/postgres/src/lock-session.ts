import { createBatch, Failure } from '@solorun/core/server';
import { PoolerDetectedError } from './errors.ts';
import type { Row, Statement } from './client.ts';
import { standbyError, type Session } from './session.ts';
import type { Key } from './key.ts';
import type { Locks } from './locks.ts';
import type { SettlesInMs } from './settling.ts';
import { inOrder, lockStatements, questions, type Pair, type Statements } from './statements.ts';

type Query = (statement: Statement) => Promise<readonly Row[]>;

/** A try, as `acquireSql` takes it. */
export interface LockAsk {
  readonly name: string;
  readonly key: string;
  readonly guard: string;
  /** 0: only look, the lock is held in this process, or was tried for in vain. 1: try. 2: this session has the lock already. */
  readonly mode: 0 | 1 | 2;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | undefined;
  readonly lease: number | null;
  readonly at_ms: number | undefined;
  readonly attempts: number | undefined;
  readonly hash: string | undefined;
}

interface ConfirmAsk {
  readonly name: string;
  readonly owner: string;
  readonly fence: string;
  /** The table tells of it. */
  readonly written: boolean;
}

interface ReleaseAsk {
  readonly name: string;
  readonly owner: string;
  /** Undefined: this session does not hold the lock. */
  readonly key: string | undefined;
  readonly result: string;
  readonly error: string | undefined;
  /** What is recorded must survive a crash of the server. */
  readonly durable: boolean;
}

/**
 * A session that holds locks, all with the same lease: the server ends it when it has not heard from us for that long, and with it
 * every lock on it. So one heartbeat keeps them all, however many they are.
 */
export interface LockSession {
  readonly session: Session;
  readonly lost: AbortSignal;
  /** How its locks are called. */
  readonly locks: Locks;
  /** Tries that need it before they ask it anything: it is not let go meanwhile. */
  users: number;
  /** It was let go, holding nothing and asked for nothing: its end is no loss. */
  readonly idle: boolean;
  /** False, and its end, if nothing was heard of it for longer than the server would have kept it. */
  usable(): boolean;
  /** Bare locks, without a schema of ours. It ends when the tables are found. */
  readonly plain: boolean;
  /** How long its server grants nothing yet. */
  readonly settlesInMs: SettlesInMs;
  /**
   * Looks for the tables again if there were none, at most every few seconds; undefined if that need not be.
   *
   * @param now there are tables: this session need only see them
   */
  lookAgain(now: boolean): Promise<void> | undefined;
  /** Locks that this session holds, by key, and until when they are to be kept unless they are renewed. */
  readonly keys: Map<string, { until: number }>;
  /** From now on the lock is held here, and lasts for the session's lease. */
  hold(key: string): void;
  acquire(ask: LockAsk, signal: AbortSignal): Promise<Row>;
  /**
   * The lock and its fence alone. Undefined: somebody else holds it. `guarded`: a transaction is under way that its last holder
   * guarded, and the session does not hold the lock either.
   *
   * @param got the session has the lock already
   */
  take(key: Key, got: boolean, signal: AbortSignal): Promise<bigint | 'guarded' | undefined>;
  /** Gives the lock alone back. False: the session did not hold it. */
  free(key: string, signal: AbortSignal): Promise<boolean>;
  /** Whether the lease is still that owner's. `unwritten`: it is, and its row is gone, as when the schema was dropped. */
  confirm(ask: ConfirmAsk, key: string, signal: AbortSignal): Promise<boolean | 'unwritten'>;
  release(ask: ReleaseAsk, signal: AbortSignal): Promise<boolean>;
  query(statement: Statement): Promise<readonly Row[]>;
  /** The same, of the tables: where one is missing, they are looked for (and made), and it is asked once more. */
  queryTables(statement: Statement): Promise<readonly Row[]>;
  /**
   * Waits in the server's queue for a slice of time. `mine`: the session holds the lock. `guarded`: that too, but a transaction that the
   * last holder guarded may be under way. Undefined: not yet.
   */
  block(key: Key, sliceMs: number): Promise<'mine' | 'guarded' | undefined>;
  /** Waits for a moment until no guarded transaction of the last holder is under way. False: one still is. */
  blockOnGuard(guard: string): Promise<boolean>;
  /** Starts to listen, once. */
  listen(channel: string): Promise<void>;
}

export interface LockSessionTerms {
  readonly kind: string;
  readonly leaseMs: number | null;
  readonly statements: Statements;
  readonly locks: Locks;
  readonly schema: string;
  readonly channel: string;
  /** Without a schema of ours: bare locks, one statement each. */
  readonly plain: boolean;
  readonly settlesInMs: SettlesInMs;
  /** Sees to the tables. False: there are none. */
  readonly prepare: () => Promise<boolean>;
  /** How long it is kept while it holds nothing and is asked for nothing, in ms. */
  readonly idleMs: number;
  /** Ends it. */
  readonly onIdle: () => void;
  /** Gives back a lock that nobody has renewed in time: the heartbeat keeps the session, and would keep the lock for ever. */
  readonly lapsed: (key: string) => void;
}

/** Without a lease to keep, in ms. */
const HEARTBEAT_MS = 10_000;
/** Two of these within a lease may fail. */
const HEARTBEATS_PER_LEASE = 4;
/** After a release that failed, the lock is given back this much later, in ms. */
const UNRELEASED_MS = 10_000;
/** How often the session is looked after, in ms. */
const TICK_MS = 500;
/** A call without locks at stake, in ms. */
const CALL_MS = 5_000;
/** A call while locks without end are held, in ms. */
const PATIENCE_MS = 15_000;
/** So often the tables are looked for where there were none, in ms. */
const LOOK_AGAIN_MS = 5_000;

export function createLockSession(session: Session, terms: LockSessionTerms): LockSession {
  const { leaseMs, statements, locks, schema, channel, kind, settlesInMs, lapsed, prepare, idleMs, onIdle } = terms;
  const lockStatement = lockStatements(schema, locks);
  const plainly = plainStatements(locks);
  const keys = new Map<string, { until: number }>();
  let { plain } = terms;
  let lookedAt = performance.now();
  let looking: Promise<void> | undefined;
  let blocked = false;
  let beating = false;
  let idle = false;
  let usedAt = performance.now();
  let listening: Promise<unknown> | undefined;

  /**
   * How long an answer may take before the session is given up. With locks on it, as long as they would last: ending the session
   * ends them all.
   */
  function timeoutMs(): number {
    if (keys.size > 0) return leaseMs ?? PATIENCE_MS;
    return Math.min(CALL_MS, leaseMs ?? CALL_MS);
  }

  /** A question of the session's own, which does not keep it. */
  const quietly: Query = (statement) => session.query(statement, timeoutMs());
  const query: Query = (statement) => {
    usedAt = performance.now();
    return quietly(statement);
  };

  /** A heartbeat that comes back from another backend, or from a server that has become a standby, is the end. */
  function look(row: Row | undefined): void {
    if (row?.['standby'] === 'true') {
      session.destroy(standbyError(kind));
    } else if (Number(row?.['pid']) !== session.pid) {
      session.destroy(new PoolerDetectedError(kind, 'the session has been moved to another backend'));
    }
    session.lost.throwIfAborted();
  }

  const everyMs = leaseMs === null ? HEARTBEAT_MS : leaseMs / HEARTBEATS_PER_LEASE;
  const timer = setInterval(
    () => {
      const now = performance.now();
      if (keys.size > 0 || blocked || made.users > 0 || (session.busy && !beating)) usedAt = now;
      if (now - usedAt > idleMs) {
        idle = true;
        return onIdle();
      }
      for (const [key, { until }] of keys) if (now > until) lapsed(key);
      // What it lacks still is told by the next try.
      lookAgain(false)?.catch(() => {});
      // Whatever was asked in the meantime was a sign of life too, and what is being asked is one.
      if (blocked || session.busy || now - session.sentAt < everyMs) return;
      beating = true;
      quietly({ name: 'solorun_beat', text: 'SELECT pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby' })
        .then(([row]) => look(row))
        // A session that ends says so through `lost`; one that only failed once is asked again.
        .catch(() => {})
        .finally(() => (beating = false));
    },
    Math.min(everyMs, TICK_MS),
  ).unref();
  session.lost.addEventListener('abort', () => clearInterval(timer), { once: true });

  /** Whoever gives up on a release will not ask again, and the heartbeat would keep the lock. */
  function forgetSoon(key: string | undefined): void {
    const held = key === undefined ? undefined : keys.get(key);
    if (held !== undefined) held.until = Math.min(held.until, performance.now() + UNRELEASED_MS);
  }

  const turn = (job: (query: Query) => Promise<void>): Promise<void> => {
    usedAt = performance.now();
    return session.inLine((send) => job((statement) => send(statement, timeoutMs())));
  };

  /** Session locks survive the failure of the statement that took them. */
  async function letGo(ask: Query, tried: readonly string[]): Promise<void> {
    const text = `SELECT ${locks.call('pg_advisory_unlock', 'a.key')} FROM unnest($1::bigint[]) AS a(key)`;
    await ask({ text, values: [arrayOf(tried)] }).catch((worse: unknown) => session.destroy(worse as Error));
  }

  async function tryTogether(ask: Query, asks: readonly LockAsk[]): Promise<readonly (Row | Failure)[]> {
    try {
      const values = [questions(asks), asks.every(({ at_ms }) => at_ms === undefined)];
      const rows = await ask({ name: 'solorun_acquire', text: statements.acquire, values });
      return inOrder(rows, asks.length);
    } catch (error) {
      if (session.lost.aborted) throw error;
      const tried = asks.filter(({ mode }) => mode !== 0).map(({ key }) => key);
      await letGo(ask, tried);
      if (asks.length === 1 || session.lost.aborted) throw error;
      // One of them is at fault, and the others should not suffer for it.
      const alone: (Row | Failure)[] = [];
      for (const one of asks) {
        const again = { ...one, mode: one.mode === 2 ? 1 : one.mode } as const;
        alone.push(
          await tryTogether(ask, [again]).then(
            (rows) => rows[0]!,
            (own: unknown) => new Failure(own),
          ),
        );
      }
      return alone;
    }
  }

  /** Fences from transaction ids repeat within a statement, so these are tried one by one. */
  async function tryPlainly(ask: Query, asks: readonly LockAsk[]): Promise<readonly Row[]> {
    const rows: Row[] = [];
    for (const { key, guard, mode } of asks) {
      const [row] = await ask({ name: `solorun_plain_${mode}`, text: plainly.take[mode], values: [key, guard] });
      rows.push(row!);
    }
    return rows;
  }

  const acquiring = createBatch<LockAsk, Row, Query>(turn, (ask, asks) => (plain ? tryPlainly(ask, asks) : tryTogether(ask, asks)));

  function lookForTables(): Promise<void> {
    looking ??= prepare()
      .then((ready) => {
        plain = !ready;
      })
      .finally(() => {
        lookedAt = performance.now();
        looking = undefined;
      });
    return looking;
  }

  function lookAgain(now: boolean): Promise<void> | undefined {
    if (!plain || blocked || session.lost.aborted) return undefined;
    return now || performance.now() - lookedAt > LOOK_AGAIN_MS ? lookForTables() : undefined;
  }

  /** Nothing is remembered of the tables: they may be dropped, and rights on them revoked, at any time, and made or granted again. */
  async function withTables<T>(job: (again: boolean) => Promise<T>, without?: () => Promise<T>): Promise<T> {
    try {
      return await job(false);
    } catch (error) {
      if (session.lost.aborted || !isOfTables(error)) throw error;
      try {
        await lookForTables();
      } catch (worse) {
        if (without === undefined || !areGone(error)) throw worse;
        return without();
      }
      return job(true);
    }
  }

  async function takeTogether(ask: Query, asks: readonly Key[]): Promise<readonly string[]> {
    try {
      return await answersOf(ask, 'solorun_take', lockStatement.take, [
        asks.map(({ lock }) => lock),
        asks.map(({ guard }) => guard),
      ]);
    } catch (error) {
      if (!session.lost.aborted)
        await letGo(
          ask,
          asks.map(({ lock }) => lock),
        );
      throw error;
    }
  }

  const taking = createBatch<Key, string, Query>(turn, takeTogether);
  const freeing = createBatch<string, string, Query>(turn, (ask, asks) =>
    answersOf(ask, 'solorun_free', lockStatement.free, [asks]),
  );

  const confirming = createBatch<ConfirmAsk, boolean | 'unwritten', Query>(turn, async (ask, asks) => {
    const rows = await (plain ? beatPlainly(ask, asks) : confirmByRows(ask, asks));
    look(rows[0]);
    return inOrder(rows, asks.length).map(({ ours, gone }) => (gone === 'true' ? 'unwritten' : ours === 'true'));
  });
  const beatPlainly = (ask: Query, asks: readonly ConfirmAsk[]): Promise<readonly Row[]> =>
    ask({ name: 'solorun_plain_beat', text: plainly.beat, values: [questions(asks)] });
  const confirmByRows = (ask: Query, asks: readonly ConfirmAsk[]): Promise<readonly Row[]> =>
    ask({ name: 'solorun_confirm', text: statements.renew, values: [questions(asks)] }).catch((error: unknown) => {
      // The session has its locks whatever becomes of the tables.
      if (!isOfTables(error)) throw error;
      return beatPlainly(ask, asks);
    });

  const releasing = createBatch<ReleaseAsk, boolean, Query>(turn, async (ask, asks) => {
    const rows = plain
      ? await ask({ name: 'solorun_plain_release', text: plainly.release, values: [questions(asks)] })
      : await ask({
          name: 'solorun_release',
          text: statements.release,
          values: [questions(asks), !asks.some(({ durable }) => durable), channel],
        });
    const answers = inOrder(rows, asks.length);
    // A row that somebody deleted changes nothing about the lock having been ours.
    return answers.map(({ ours, freed }) => ours === 'true' || freed === 'true');
  });

  const made: LockSession = {
    session,
    lost: session.lost,
    locks,
    users: 0,
    get idle() {
      return idle;
    },
    usable() {
      if (leaseMs !== null && !blocked && performance.now() - Math.max(session.answeredAt, session.sentAt) > leaseMs) {
        session.destroy(new Error(`nothing was heard of the session for longer than its lease of ${leaseMs} ms`));
      }
      return !session.lost.aborted;
    },
    get plain() {
      return plain;
    },
    settlesInMs,
    lookAgain,
    keys,
    query,
    queryTables: (statement) => withTables(() => query(statement)),
    acquire: (ask, signal) =>
      // The lock that was waited for was given back when its question failed.
      withTables((again) => acquiring.ask(again && ask.mode === 2 ? { ...ask, mode: 1 } : ask, signal)),
    async take(key, got, signal) {
      const answer = await withTables(async () =>
        got
          ? (await query({ name: 'solorun_keep', text: lockStatement.keep, values: [key.lock, key.guard] }))[0]?.['answers']
          : taking.ask(key, signal),
      );
      if (answer == null || answer === '') return undefined;
      return answer === 'guarded' ? answer : BigInt(answer);
    },
    async free(key, signal) {
      try {
        return (await freeing.ask(key, signal)) === 'true';
      } catch (error) {
        forgetSoon(key);
        throw error;
      }
    },
    hold: (key) => void keys.set(key, { until: performance.now() + (leaseMs ?? Number.POSITIVE_INFINITY) }),
    async confirm(ask, key, signal) {
      const ours = await confirming.ask(ask, signal);
      const held = keys.get(key);
      if (ours !== false && held !== undefined) held.until = performance.now() + (leaseMs ?? Number.POSITIVE_INFINITY);
      return ours;
    },
    async release(ask, signal) {
      try {
        const { key } = ask;
        // Where nothing can be recorded, the lock is given back all the same.
        const bare = key === undefined ? undefined : async () => (await freeing.ask(key, signal)) === 'true';
        return await withTables(() => releasing.ask(ask, signal), bare);
      } catch (error) {
        forgetSoon(ask.key);
        throw error;
      }
    },
    async block(key, sliceMs) {
      blocked = true;
      try {
        const values = [key.lock, key.guard];
        const [row] = await session.query({ name: 'solorun_wait', text: lockStatement.wait, values }, sliceMs + CALL_MS);
        return row?.['clear'] === 'true' ? 'mine' : 'guarded';
      } catch (error) {
        if (!isEndOfSlice(error)) throw error;
        // Either may strike just after the lock was granted, and an error does not give a session lock back.
        const text = `SELECT ${locks.held('$1::bigint', 'pg_backend_pid()')}::text AS mine`;
        const [row] = await query({ name: 'solorun_mine', text, values: [key.lock] });
        return row?.['mine'] === 'true' ? 'guarded' : undefined;
      } finally {
        blocked = false;
      }
    },
    async blockOnGuard(guard) {
      blocked = true;
      try {
        await session.query({ name: 'solorun_unguarded', text: UNGUARDED, values: [guard] }, GUARD_SLICE_MS + CALL_MS);
        return true;
      } catch (error) {
        if (!isEndOfSlice(error)) throw error;
        return false;
      } finally {
        blocked = false;
      }
    },
    async listen() {
      listening ??= query({ text: `LISTEN ${channel}` }).catch((error: unknown) => {
        listening = undefined;
        throw error;
      });
      await listening;
    },
  };
  return made;
}

/** While it waits it has the lock itself, so for no longer than a paused waiter may be missed, in ms. */
const GUARD_SLICE_MS = 1_000;
const UNGUARDED = `SELECT pg_advisory_xact_lock($1::bigint)::text
  FROM (SELECT set_config('lock_timeout', '${GUARD_SLICE_MS}', true) AS slice OFFSET 0) AS s WHERE s.slice IS NOT NULL`;

/** undefined_table, invalid_schema_name, insufficient_privilege, read_only_sql_transaction */
function isOfTables(error: unknown): boolean {
  return ['42P01', '3F000', '42501', '25006'].includes((error as { code?: string }).code ?? '');
}

function areGone(error: unknown): boolean {
  return ['42P01', '3F000'].includes((error as { code?: string }).code ?? '');
}

/** lock_not_available: the slice is over. query_canceled: an operator did it. */
function isEndOfSlice(error: unknown): boolean {
  return ['55P03', '57014'].includes((error as { code?: string }).code ?? '');
}

/** One with plain parameters, several with arrays: an answer for each, in order. */
async function answersOf(ask: Query, name: string, statement: Pair, columns: readonly (readonly string[])[]): Promise<string[]> {
  const count = columns[0]!.length;
  const [row] =
    count === 1
      ? await ask({ name, text: statement.one, values: columns.map(([only]) => only) })
      : await ask({ name: `${name}_many`, text: statement.many, values: columns.map(arrayOf) });
  const answers = row?.['answers'] ?? '';
  return count === 1 ? [answers] : answers.split(',');
}

/** Of numbers: nothing in them needs quotes. */
function arrayOf(values: readonly string[]): string {
  return `{${values.join(',')}}`;
}

const BEAT = 'pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby';

/** What a role can do that may create nothing. The holder is read off the name that its session gave itself. */
function plainStatements(locks: Locks): { take: Readonly<Record<LockAsk['mode'], string>>; beat: string; release: string } {
  const take = (got: string): string => `WITH tried AS MATERIALIZED (
      SELECT $1::bigint AS key, CASE WHEN ${got} THEN CASE WHEN pg_try_advisory_xact_lock($2::bigint) THEN pg_current_xact_id()
        WHEN ${locks.call('pg_advisory_unlock', '$1::bigint')} THEN NULL END END AS fence
    )
    SELECT (t.fence IS NOT NULL)::text AS got, t.fence::text AS fence, s.application_name AS session,
      round((extract(epoch FROM s.backend_start) * 1000)::numeric)::text AS since,
      round((extract(epoch FROM clock_timestamp()) * 1000)::numeric)::text AS now
    FROM tried t LEFT JOIN LATERAL (
      SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE t.fence IS NULL AND ${locks.at('t.key')} LIMIT 1
    ) s ON true`;
  return {
    take: {
      0: take('false'),
      1: take(locks.call('pg_try_advisory_lock', '$1::bigint')),
      2: take('true'),
    },
    beat: `SELECT a.ord::text, 'true' AS ours, ${BEAT} FROM json_to_recordset($1::json) AS a(ord int)`,
    release: `SELECT a.ord::text, 'false' AS ours,
        (CASE WHEN a.key IS NOT NULL THEN ${locks.call('pg_advisory_unlock', 'a.key')} END)::text AS freed
      FROM json_to_recordset($1::json) AS a(ord int, key bigint)`,
  };
}
