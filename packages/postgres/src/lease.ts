import {
  OptionError,
  SolorunError,
  UnsupportedError,
  type AcquireRequest,
  type AcquireResult,
  type Grant,
  type Guarantees,
  type LockProvider,
} from '@solorun/core';
import {
  createActive,
  createBatch,
  createConnector,
  createOutlasted,
  createUndo,
  createWatch,
  delay,
  Failure,
  finishLimit,
  oneAtATime,
  unlessAborted,
} from '@solorun/core/server';
import { checkConnection, type PostgresConnection, type PostgresPool, type Row, type Statement } from './client.ts';
import { rememberGuard } from './guard.ts';
import { createDoubts } from './doubts.ts';
import { checkStorable, keysOf } from './key.ts';
import { createLogins } from './login.ts';
import { createPrimary } from './primary.ts';
import { grantOf, leaseSeen, parseRecord, refusalOf, type LeaseSeen } from './record.ts';
import { createRowLocked } from './row-locked.ts';
import { checkSchema, DEFAULT_SCHEMA, prepareSchema, schemaRemedy, unusableNow, type SchemaOptions } from './schema.ts';
import { createEnder, openSession, readOnlyError, standbyError, wasSent, type Session } from './session.ts';
import { inOrder, questions, rowStatements, statementsFor } from './statements.ts';
import { channelOf } from './channel.ts';

export interface PostgresLeaseOptions extends PostgresConnection, SchemaOptions {
  /**
   * A pool of yours, instead of a connection of our own. Each question takes one of its connections for one short statement: leave
   * room for that, or handlers that hold all of them wait for a lock that waits for a connection.
   */
  readonly pool?: PostgresPool | undefined;
  /**
   * Whether waiters listen for notifications. They need a connection to the server itself; behind a pooler that shares connections,
   * and with a `pool`, they look now and then instead. @default true
   */
  readonly notify?: boolean | undefined;
}

const KIND = 'postgres-lease';
const CONNECT_MS = 5_000;
/** A connection that does not answer for so long is doubted, and another one tried: renewals stand in line behind it. */
const CALL_MS = 5_000;
const SHORTEST_CALL_MS = 500;
/** It is given up after this long even if no other one is answered, in ms. */
const PATIENCE_MS = 15_000;
/** How often those look who wait for a notification, in case it is lost, in ms. When a lease ends by time, the core looks by itself. */
const LISTENING_MS = 4_000;
/** How often those look who are never told, in ms. */
const LOOK_MS = 300;
/** A name whose row a guarded transaction holds comes free when that commits: nobody tells, in ms. */
const GUARDED_PAUSE_MS = 100;
/** Another process's statement has a row for about so long, in ms. */
const BUSY_MS = 20;
/** Of a statement that lost a race. */
const RETRIES = 3;
/** undefined_table, invalid_schema_name: dropped, or another database than before. */
const GONE: readonly string[] = ['42P01', '3F000'];
/** Besides, insufficient_privilege, read_only_sql_transaction, serialization_failure: what was looked at once is not so any more. */
const LOOK_AGAIN: readonly string[] = [...GONE, '42501', '25006', '40001'];

/** One statement on whatever connection there is. */
interface Link {
  ask(statement: Statement, signal?: AbortSignal): Promise<readonly Row[]>;
  /** Notifications arrive here. */
  readonly listens: () => boolean;
  /** The server has become one: the next question is asked on another connection. Gives the error back. */
  onStandby(error: Error): Error;
  close(): Promise<void>;
}

/**
 * Locks as rows with an end, by the server's clock: one row per name, one statement per question, through any pooler. A holder that
 * dies or is paused or cut off is followed when its lease ends. Records, fences and occurrences stand in the same row.
 *
 * @throws OptionError
 * @example
 * const solo = createSolo({ provider: postgresLease({ connectionString: process.env.DATABASE_URL }) });
 * @example
 * const solo = createSolo({ provider: postgresLease({ pool }) });
 */
export function postgresLease(options: PostgresLeaseOptions): LockProvider {
  checkConnection(options, 'postgresLease', ['schema', 'pool', 'notify']);
  const { pool, schema = DEFAULT_SCHEMA, notify = true } = options;
  checkSchema(schema);
  if ('pool' in options) {
    if (typeof pool?.query !== 'function') {
      throw new OptionError(
        `The pool for postgresLease is a Pool of node-postgres, or has its query(text, values); this is ${typeof pool}.`,
      );
    }
    const beside = Object.keys(options).filter((key) => key !== 'pool' && key !== 'schema' && key !== 'notify');
    if (beside.length > 0) throw new OptionError(`Give postgresLease a pool or ${beside.join(', ')}, not both.`);
  }
  const keys = keysOf('solorun');
  const statements = statementsFor('lease', schema);
  const alone = rowStatements(schema);
  const channel = channelOf(schema);
  const active = createActive();
  /** Leases that lie further ahead of the server's clock than they last, as that was set back: they are timed here. */
  const outlasted = createOutlasted();
  const link = pool === undefined ? linkBySession() : linkByPool(pool);
  let prepared: Promise<void> | undefined;
  let isReady = false;
  /** There were tables once. */
  let hadTables = false;
  let highest = 0n;
  /** The schema was dropped since: rows that are made anew begin above this fence. */
  let floor: string | undefined;
  /** So that half of the shortest lease is left for another connection. */
  let callMs = CALL_MS;
  let closed = false;
  /** Names whose rows another transaction has locked. */
  const guarded = new Set<string>();
  const rowLocked = createRowLocked('lease', schema, ask, (message) =>
    process.emitWarning(`${KIND}: ${message}`, { type: 'SolorunWarning', code: 'SOLORUN_ROW_LOCKED' }),
  );

  function linkBySession(): Link {
    const primary = createPrimary(KIND, options);
    async function open(): Promise<Session> {
      const session = await primary.reach({
        connect: (connection, _, signal) =>
          openSession({
            ...{ kind: KIND, connection, applicationName: 'solorun', allowPooler: true, timeoutMs: CONNECT_MS, signal },
            settings: { idle_session_timeout: '0', lock_timeout: String(CONNECT_MS), client_connection_check_interval: '1000' },
          }),
        prepare: async (connected) => connected,
        discard: (connected) => connected.destroy(new Error('another host has been taken')),
      });
      session.onNotification((heard, payload) => {
        if (heard === channel) watch.notified(payload);
      });
      session.lost.addEventListener(
        'abort',
        () => {
          lostBy.set(session.lost.reason as object, session);
          watch.wakeAll();
        },
        { once: true },
      );
      if (session.direct && notify) await session.query({ text: `LISTEN ${channel}` }, CONNECT_MS);
      return session;
    }
    const connector = createConnector<Session>(open, (session) => session.end());
    const doubts = createDoubts(
      () => callMs,
      async (silent, isSilent) => {
        const other = await open();
        if (!isSilent()) return other.end();
        await connector.replace(other);
        silent.destroy(new Error(`no answer within ${Math.round(callMs)} ms, while another connection had one`));
      },
    );
    return {
      async ask(statement, signal) {
        const session =
          connector.current ??
          (await connector.get(signal).catch((error: unknown) => {
            unsent.add(error as object);
            throw error;
          }));
        doubts.watch(session);
        return session.query(statement, PATIENCE_MS);
      },
      listens: () => notify && connector.current?.direct !== false,
      onStandby(error) {
        connector.current?.destroy(error);
        return error;
      },
      close: () => connector.close(),
    };
  }

  /** The schema is looked after once, before the first question. */
  async function ready(): Promise<void> {
    prepared ??= prepareSchema((statement) => link.ask(statement), schema, 'lease').then(async (state) => {
      if (state === 'standby') throw link.onStandby(standbyError(KIND));
      if (state === 'read-only') throw readOnlyError(KIND);
      if (state !== 'ready') throw hadTables ? unusableNow(KIND, state.missing) : schemaRemedy(KIND, state.missing);
      const [row] = await link.ask({ text: "SELECT current_setting('default_transaction_isolation') AS isolation" });
      if (row?.['isolation'] !== 'read committed') {
        throw new UnsupportedError(
          `${KIND}: its connections begin transactions as ${row?.['isolation']}, which breaks off statements that meet at a name. ` +
            "Give it a connectionString of the server itself, or connections with default_transaction_isolation = 'read committed'.",
        );
      }
    });
    try {
      await prepared;
      [isReady, hadTables] = [true, true];
    } catch (error) {
      prepared = undefined;
      throw error;
    }
  }

  /** One statement, again if it lost a race that Postgres breaks off rather than decides. */
  async function ask(asked: Statement | (() => Statement)): Promise<readonly Row[]> {
    let looked = isReady ? 0 : 1;
    for (let tries = 1; ; tries += 1) {
      if (!isReady) await ready();
      try {
        return await link.ask(typeof asked === 'function' ? asked() : asked);
      } catch (error) {
        const { code = '' } = error as { code?: string };
        if (GONE.includes(code)) floor = String(highest);
        if (LOOK_AGAIN.includes(code)) {
          [prepared, isReady] = [undefined, false];
          // Either it is told what is true now, or it is made anew and asked once more.
          if ((looked += 1) === 1) continue;
        }
        // deadlock_detected
        if (code !== '40P01' || tries > RETRIES) throw error;
      }
    }
  }

  function acquireOf(asks: readonly Taking[]): Statement {
    const asked = floor === undefined ? asks : asks.map((one) => ({ ...one, floor }));
    return { name: 'solorun_acquire', text: statements.acquire, values: [questions(asked), false] };
  }

  /** One that needs no occurrence, of a name that is there and free: a third of the work. */
  async function takeAlone(query: typeof ask, { name, owner, host, pid, label, lease }: Taking): Promise<Row | undefined> {
    const values = [name, owner, host, pid, label, lease];
    return (await query({ name: 'solorun_take', text: alone.take, values }))[0];
  }

  async function tryTogether(query: typeof ask, asks: readonly Taking[]): Promise<readonly (Row | Failure)[]> {
    try {
      const [only] = asks;
      if (asks.length === 1 && only?.at_ms === undefined && only?.over_owner === undefined) {
        const row = await takeAlone(query, only!);
        if (row !== undefined) return [row];
      }
      return inOrder(await query(() => acquireOf(asks)), asks.length);
    } catch (error) {
      // data_exception: one of them is at fault, and the others should not suffer for it.
      if (asks.length === 1 || !((error as { code?: string }).code ?? '').startsWith('22')) throw error;
      return Promise.all(
        asks.map((one) =>
          tryTogether(query, [one]).then(
            (rows) => rows[0]!,
            (own: unknown) => new Failure(own),
          ),
        ),
      );
    }
  }

  const acquiring = createBatch<Taking, Row, typeof ask>(oneAtATime(ask), tryTogether);
  const renewing = createBatch<object, string, typeof ask>(oneAtATime(ask), async (query, asks) => {
    const rows = await query({ name: 'solorun_renew', text: statements.renew, values: [questions(asks)] });
    return inOrder(rows, asks.length).map(({ ours }) => ours!);
  });
  const releasing = createBatch<Ending, boolean, typeof ask>(oneAtATime(ask), async (query, asks) => {
    const [only] = asks;
    if (asks.length === 1 && only !== undefined) {
      const row = await query({
        name: 'solorun_end',
        text: alone.end,
        values: [only.name, only.owner, only.result, only.error, channel],
      });
      if (row.length > 0) return [true];
    }
    const values = [questions(asks), false, channel];
    const rows = await query({ name: 'solorun_release', text: statements.release, values });
    return inOrder(rows, asks.length).map(({ ours }) => ours === 'true');
  });

  const watch = createWatch({
    everyMs: () => (link.listens() ? LISTENING_MS : LOOK_MS),
    async look(names) {
      const rows = await ask({ name: 'solorun_watch', text: statements.watch, values: [JSON.stringify(names)] });
      return rows.map(({ name }) => name!);
    },
  });

  /** A try whose answer never came may hold the name until its lease ends. */
  const endBackend = createEnder(ask);
  const undo = createUndo<Session>(async (name, owner, lost) => {
    const over = await endBackend(lost);
    return (await releasing.ask({ name, owner, result: 'abandoned', error: undefined })) || over;
  });

  /** The lease in the way, if it ends later than a lease of its length can: its end was counted before the server's clock was set back. */
  function leaseAhead(name: string, row: Row): LeaseSeen | undefined {
    const seen = leaseSeen(row['record']);
    if (seen !== undefined && seen.expiresAt - Number(row['now']) > seen.leaseMs) return seen;
    outlasted.forget(name);
    return undefined;
  }

  async function tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const { name, owner, leaseMs, holder, occurrence } = request;
    signal.throwIfAborted();
    if (closed) throw new Error('the provider is closed');
    checkStorable(name);
    if (occurrence?.scheduleHash !== undefined) checkStorable(occurrence.scheduleHash);
    if (leaseMs === null) {
      throw new UnsupportedError(`${KIND} cannot hold a lease without an end: nothing would tell that its holder is gone.`);
    }
    // What an unanswered try may have claimed is given back before the next one is judged by it.
    const doubt = undo.settled(name);
    if (doubt !== undefined) await unlessAborted(doubt, signal);
    callMs = Math.min(callMs, Math.max(SHORTEST_CALL_MS, leaseMs / 2));
    const asked = {
      ...{ name, key: keys.of(name).lock, owner, host: holder.host, pid: holder.pid, label: holder.label, lease: leaseMs },
      ...{ at_ms: occurrence?.at.getTime(), attempts: occurrence?.attempts, hash: occurrence?.scheduleHash },
    };
    let over: LeaseSeen | undefined;
    for (let again = 0; ; again += 1) {
      const asking = active.track(acquiring.ask({ ...asked, over_owner: over?.owner, over_at: over?.expiresAt }, signal));
      const row = await unlessAborted(asking, signal).catch((error: unknown) => {
        const doubtful = asking.then(
          // Granted after the caller had gone.
          (late) => void (late['fence'] != null && undo.add(name, owner)),
          (unanswered: unknown) => void (mayHaveRun(unanswered) && undo.add(name, owner, lostBy.get(unanswered as object))),
        );
        void active.track(doubtful);
        throw error;
      });
      if (row['fence'] != null) {
        const grant = grantOf(request, row);
        if (grant.fence > highest) highest = grant.fence;
        rememberGuard(grant, { kind: 'lease', schema, leaseMs });
        return { acquired: true, grant };
      }
      const record = parseRecord(row['record']);
      const refusal = refusalOf(request, record, Number(row['now']), false);
      const ahead = refusal?.reason === 'held' ? leaseAhead(name, row) : undefined;
      // Once more, now that it is known to be over; its row may be locked even so.
      const isOver = ahead !== undefined && outlasted.isOver(name, `${ahead.owner} ${ahead.expiresAt}`, ahead.leaseMs);
      if (isOver) over = ahead;
      else if (refusal?.reason === 'held' && ahead !== undefined) return { ...refusal, expiresInMs: ahead.leaseMs };
      else if (refusal !== undefined) return refusal;
      if (again < 2) continue;
      // Free, but its row is locked: by a transaction that the last holder guarded, or by one that somebody has forgotten.
      guarded.add(name);
      const detail = await unlessAborted(rowLocked.explain(name), signal);
      return { acquired: false, reason: 'held', expiresInMs: GUARDED_PAUSE_MS, detail, record };
    }
  }

  async function renew({ name, owner }: Grant, signal: AbortSignal): Promise<boolean> {
    for (let tries = 1; ; tries += 1) {
      const ours = await renewing.ask({ name, owner }, signal);
      if (ours !== 'locked') return ours === 'yes';
      if (tries > RETRIES) throw new Error((await rowLocked.explain(name)) ?? 'other statements are at its row again and again');
      await delay(BUSY_MS, signal);
    }
  }

  return {
    kind: KIND,
    get guarantees() {
      return guaranteesOf(link.listens());
    },
    tryAcquire,
    renew,
    release: ({ name, owner }, outcome, signal) =>
      active.track(
        releasing.ask(
          {
            name,
            owner,
            result: outcome.result,
            error: outcome.result === 'failed' ? outcome.error.replaceAll('\0', '') : undefined,
          },
          signal,
        ),
      ),
    async untilFree({ name }, signal) {
      if (closed) throw new Error('the provider is closed');
      checkStorable(name);
      if (guarded.delete(name)) await delay(GUARDED_PAUSE_MS, signal);
      if (!signal.aborted) await watch.until(name, keys.of(name).lock, signal);
    },
    async inspect(name) {
      checkStorable(name);
      const [row] = await ask({ name: 'solorun_inspect', text: statements.inspect, values: [name] });
      return parseRecord(row?.['record']);
    },
    async *list(prefix = '') {
      checkStorable(prefix);
      for (let after = ''; ;) {
        const rows = await ask({ name: 'solorun_list', text: statements.list, values: [prefix, after] });
        for (const { record } of rows) {
          const parsed = parseRecord(record);
          if (parsed !== undefined) yield parsed;
        }
        const last = rows.at(-1)?.['name'];
        if (last == null) return;
        after = last;
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      const limit = finishLimit();
      await active.over(limit);
      await undo.close(limit);
      await link.close();
    },
  };
}

/** A try, as `acquireSql` takes it. */
interface Taking {
  readonly name: string;
  readonly key: string;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | undefined;
  readonly lease: number;
  readonly at_ms: number | undefined;
  readonly attempts: number | undefined;
  readonly hash: string | undefined;
  /** The lease that is over by what has been seen of it here, whatever the server's clock says. */
  readonly over_owner?: string | undefined;
  readonly over_at?: number | undefined;
}

interface Ending {
  readonly name: string;
  readonly owner: string;
  readonly result: string;
  readonly error: string | undefined;
}

/** The pool is the user's: we neither set anything on its connections, nor prepare, nor close it. */
function linkByPool(pool: PostgresPool): Link {
  const logins = createLogins(KIND);
  return {
    async ask({ text, values = [] }) {
      try {
        const { rows } = await pool.query(text, values);
        logins.accepted();
        return rows as readonly Row[];
      } catch (error) {
        throw logins.errorOf(error);
      }
    },
    listens: () => false,
    onStandby: (error) => error,
    close: async () => {},
  };
}

/** Which session an error is the end of. */
const lostBy = new WeakMap<object, Session>();

/** Errors of connections that were never made. */
const unsent = new WeakSet<object>();

/**
 * Whether a statement that failed may have been committed: not if the server says why it was not, nor if it never reached one. A
 * connection that ended in between tells nothing.
 */
function mayHaveRun(error: unknown): boolean {
  if (error instanceof SolorunError || unsent.has(error as object) || !wasSent(error)) return false;
  const { code = '' } = error as { code?: string };
  // connection_exception, and the shutdowns of a session, say nothing about the statement before.
  if (/^[0-9A-Z]{5}$/.test(code)) return /^(?:08|57P)/.test(code);
  return !['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code);
}

function guaranteesOf(listens: boolean): Guarantees {
  return {
    clock: 'server',
    reach: 'fleet',
    expiry: true,
    unbounded: false,
    crash: 'by expiry',
    fence: 'durable',
    occurrences: true,
    wakeUp: listens ? 'push' : 'poll',
    minLeaseMs: 100,
    caveats: [
      "Setting the server's clock forward by two thirds of a lease may end it early: two may hold it until the first one's next renewal, up " +
        'to a third of the lease. If the holder is paused or cut off, more than the margin is enough. Slewing does no harm.',
      'A fail-over to an asynchronous replica may forget the newest leases, fences and occurrences.',
    ],
  };
}
