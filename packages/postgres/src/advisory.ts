import {
  OptionError,
  type AcquireRequest,
  type AcquireResult,
  type Grant,
  type Guarantees,
  type Identity,
  type LockProvider,
  type Outcome,
} from '@solorun/core';
import { pause, unlessAborted } from './abort.ts';
import { createActive, finishLimit } from './active.ts';
import { checkConnection, type PostgresConnection, type Row } from './client.ts';
import { createConnector, type Connector } from './connector.ts';
import { PoolerDetectedError } from './errors.ts';
import { rememberGuard } from './guard.ts';
import { checkStorable, keyOf } from './key.ts';
import { createLine } from './line.ts';
import { createLockSession, type LockAsk, type LockSession } from './lock-session.ts';
import { findPath, type Path } from './pooler.ts';
import { grantOf, heldBy, parseRecord, refusalOf } from './record.ts';
import { checkSchema, DEFAULT_SCHEMA, leapIfNeeded, prepareSchema, schemaRemedy, type SchemaOptions } from './schema.ts';
import { endBackend, openSession, standbyError, type Session } from './session.ts';
import { statementsFor } from './statements.ts';
import { createUndo } from './undo.ts';
import { createWaits } from './waits.ts';
import { channelOf, createWatch } from './watch.ts';

export interface PostgresAdvisoryOptions extends PostgresConnection, SchemaOptions {
  /**
   * Locks that this process may hold at once. A server's lock table is shared by all its clients and everything they do, and when it
   * is full nobody can connect or read. @default 10_000
   */
  readonly maxLocks?: number | undefined;
  /**
   * How many names may be waited for in the server's own queue at once, each on a session of its own. Waiters beyond that are woken
   * by notifications, and look once a second in case a holder died. @default 1
   */
  readonly waitSessions?: number | undefined;
  /**
   * How long one wait in the server's queue goes on before it begins anew, in ms: VACUUM keeps dead rows and CREATE INDEX
   * CONCURRENTLY waits for no longer than that. @default 12_000
   */
  readonly waitSliceMs?: number | undefined;
  /** Told of what is missing on an old server, or with a role that may create nothing. @default a process warning */
  readonly onWarning?: ((message: string) => void) | undefined;
}

const KIND = 'postgres-advisory';
const CONNECT_MS = 5_000;
/** After each so many locks more, the server's lock table is looked at. */
const LOOK_EVERY = 250;
/** Postgres gives the lock table room for about twice its nominal size; this much of the nominal size is left to locks like ours. */
const FILL = 1.6;
/** A name whose row a guarded transaction holds comes free when that commits: nobody tells, in ms. */
const GUARDED_PAUSE_MS = 100;
/** How often those look who wait outside of the server's queue, in ms: for them a dead holder shows itself only so. */
const LOOK_MS = 700;
const OLD_SERVER = 140_000;

/**
 * Locks as Postgres advisory locks, on sessions of their own and never on the application's pool. A killed holder is followed at
 * once; a paused one, or one behind a cut cable, when its lease ends: the server then ends its session. The record of each
 * job, its fence and its occurrences stand in a table (`schemaSql`), which is made on first use where the role may.
 *
 * It needs a connection to the server itself, or through a pooler in session mode; behind one that shares connections it
 * refuses to work (`PoolerDetectedError`), as it does on a hot standby.
 *
 * @throws OptionError
 * @example
 * const solo = createSolo({ provider: postgresAdvisory({ connectionString: process.env.DATABASE_URL }) });
 */
export function postgresAdvisory(options: PostgresAdvisoryOptions): LockProvider {
  checkConnection(options, 'postgresAdvisory', ['schema', 'maxLocks', 'waitSessions', 'waitSliceMs', 'onWarning']);
  const { schema = DEFAULT_SCHEMA, maxLocks = 10_000, waitSessions = 1, waitSliceMs = 12_000, onWarning = warn } = options;
  checkSchema(schema);
  checkCount('maxLocks', maxLocks, 1);
  checkCount('waitSessions', waitSessions, 0);
  checkCount('waitSliceMs', waitSliceMs, 100);

  const statements = statementsFor('advisory', schema);
  const channel = channelOf(schema);
  const line = createLine<bigint>();
  const active = createActive();
  /** Locks held in this process, on whichever session: a session would be granted its own lock a second time. */
  const holders = new Map<bigint, { readonly owner: string; readonly on: LockSession; readonly durable: boolean }>();
  /** One session per length of lease: the server knows one time-out per session. */
  const mains = new Map<number | null, Connector<LockSession>>();
  const guarded = new Set<string>();
  let path: Promise<Path> | undefined;
  /** Undefined until known; then what is missing, if anything is. */
  let missing: string | false | undefined;
  let version = Number.POSITIVE_INFINITY;
  let closed: Promise<void> | undefined;
  let identity: Identity | undefined;
  let trying = 0;
  let lookAgainAt = LOOK_EVERY;

  async function open(leaseMs: number | null, waiting: boolean): Promise<LockSession> {
    path ??= findPath(options, CONNECT_MS);
    const found = await path.catch((error: unknown) => {
      path = undefined;
      throw error;
    });
    if (found !== 'direct' && found !== 'session pooling') {
      // Asked again next time: it may have been put right.
      path = undefined;
      throw new PoolerDetectedError(KIND, `the connection goes through ${withArticle[found]}`);
    }
    const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1_000)));
    const session = await openSession({
      kind: KIND,
      connection: options,
      applicationName: sessionName(identity),
      allowPooler: false,
      timeoutMs: CONNECT_MS,
      settings: {
        idle_session_timeout: String(Math.ceil(leaseMs ?? 0)),
        // Dead peers that the lease does not cover: a session without one, or in the middle of a statement.
        tcp_keepalives_idle: seconds((leaseMs ?? 20_000) / 4),
        tcp_keepalives_interval: seconds((leaseMs ?? 20_000) / 4),
        tcp_keepalives_count: '3',
        tcp_user_timeout: String(Math.max(1_000, Math.ceil(leaseMs ?? 20_000))),
        client_connection_check_interval: '1000',
        lock_timeout: String(waiting ? Math.round(waitSliceMs * (0.9 + Math.random() / 5)) : CONNECT_MS),
      },
    });
    try {
      if (session.proxied && found === 'direct') {
        // Looked at again before the next session.
        path = undefined;
        throw new Error('the connection goes through a proxy now, which it did not before');
      }
      const ask = (statement: Parameters<typeof session.query>[0]): Promise<readonly Row[]> => session.query(statement, CONNECT_MS);
      if (session.version < OLD_SERVER && version >= OLD_SERVER) {
        onWarning(
          `${KIND}: the server is older than Postgres 14 and knows no idle_session_timeout, so a paused holder keeps its lock ` +
            'until it continues, and one behind a cut cable until TCP gives up. Upgrade the server, or use postgresLease.',
        );
      }
      version = session.version;
      const state = await prepareSchema(ask, schema, 'advisory');
      // It has become one since it was asked.
      if (state === 'standby') throw standbyError(KIND);
      if (state === 'ready') await leapIfNeeded(ask, schema);
      else if (missing === undefined || missing === false) {
        onWarning(
          `${schemaRemedy(KIND, state.missing).message} Until then, and until the program is started anew, there are ` +
            'locks, but no records and no occurrences, and fences may go back when the server crashes.',
        );
      }
      missing = state === 'ready' ? false : state.missing;
    } catch (error) {
      session.destroy(error as Error);
      throw error;
    }
    const made = createLockSession(session, { kind: KIND, leaseMs, statements, channel, plain: missing !== false, lapsed });
    session.onNotification((heard, payload) => {
      if (heard === channel) watch.notified(payload);
    });
    made.lost.addEventListener(
      'abort',
      () => {
        for (const [key, { on }] of holders) if (on === made) holders.delete(key);
        // The next one may come another way.
        path = undefined;
        watch.wakeAll();
      },
      { once: true },
    );
    return made;
  }

  function mainFor(leaseMs: number | null): Connector<LockSession> {
    let main = mains.get(leaseMs);
    if (main === undefined) {
      main = createConnector(
        () => open(leaseMs, false),
        ({ session }) => session.end(),
      );
      mains.set(leaseMs, main);
    }
    return main;
  }

  /** For questions that need no particular session. */
  function anyMain(): Connector<LockSession> {
    for (const main of mains.values()) if (main.current !== undefined) return main;
    return mains.values().next().value ?? mainFor(null);
  }

  const watch = createWatch({
    everyMs: () => LOOK_MS,
    async look(names) {
      const on = await anyMain().get();
      if (on.plain) return names.map(({ name }) => name);
      await on.listen(channel);
      const rows = await on.query({ name: 'solorun_watch', text: statements.watch, values: [JSON.stringify(names)] });
      return rows.map(({ name }) => name!);
    },
  });

  const waits = createWaits({
    places: waitSessions,
    sliceMs: waitSliceMs * 1.1,
    open: (leaseMs) => open(leaseMs, true),
    async terminate(pid) {
      const on = await anyMain().get();
      await on.query({ text: `SELECT pg_terminate_backend($1${version < OLD_SERVER ? '' : ', 1000'})::text`, values: [pid] });
    },
  });

  /** A try whose answer never came may have claimed an occurrence; its lock ended with the session. */
  const undo = createUndo<Session>(async (name, owner, lost) => {
    const on = await anyMain().get();
    if (lost?.proxied === false) await on.query(endBackend(lost));
    const abandoned = { name, owner, key: undefined, result: 'abandoned', error: undefined, durable: true };
    return on.plain || (await on.release(abandoned, never));
  });

  /** There must be room for one lock more, those included that are being tried for. */
  async function checkRoom(on: LockSession): Promise<void> {
    const count = holders.size + trying;
    if (count > maxLocks) {
      throw new Error(
        `this process holds ${holders.size} locks already, and maxLocks is ${maxLocks}: the lock table of the server is ` +
          'shared by all its clients. Raise maxLocks, and max_locks_per_transaction with it, or use postgresLease',
      );
    }
    if (count < lookAgainAt) {
      lookAgainAt = Math.min(lookAgainAt, count + LOOK_EVERY);
      return;
    }
    lookAgainAt = count + LOOK_EVERY;
    const [row] = await on.query({ name: 'solorun_room', text: ROOM });
    if (Number(row?.['used']) + trying > Number(row?.['size']) * FILL) {
      // Whoever comes next looks too.
      lookAgainAt = count;
      throw new Error(
        `the lock table of the server is nearly full (${row?.['used']} locks; it is made for ${row?.['size']}): beyond that it ` +
          'would refuse connections and reads. Raise max_locks_per_transaction, hold fewer locks, or use postgresLease',
      );
    }
  }

  async function tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    signal.throwIfAborted();
    checkOpen();
    checkStorable(request.name);
    if (request.occurrence?.scheduleHash !== undefined) checkStorable(request.occurrence.scheduleHash);
    identity ??= request.holder;
    const key = keyOf(request.name);
    const attempt = line.enter(key, async () => {
      signal.throwIfAborted();
      const wait = waits.take(request.owner);
      trying += 1;
      let result: AcquireResult | undefined;
      try {
        // What an unanswered try may have claimed is given back before the next one is judged by it.
        const doubt = undo.settled(request.name);
        if (doubt !== undefined) await unlessAborted(doubt, signal);
        const on = wait?.on ?? (await mainFor(request.leaseMs).get(signal));
        if (request.occurrence !== undefined && on.plain) throw schemaRemedy(KIND, missing || 'there are no tables');
        const held = holders.get(key)?.on.lost.aborted === false;
        if (wait === undefined && !held) await checkRoom(on);
        const first = held ? 0 : wait !== undefined ? 2 : 1;
        result = await askFor(request, key, on, first, signal);
        // A session that has just ended holds nothing; its end has been told already.
        if (result.acquired && !on.lost.aborted) {
          holders.set(key, { owner: request.owner, on, durable: request.occurrence !== undefined });
          on.hold(String(key));
        }
        if (!result.acquired || !signal.aborted) return result;
      } finally {
        trying -= 1;
        if (wait !== undefined && result === undefined) await waits.giveBack(wait, String(key));
        else if (wait !== undefined && result?.acquired === false) waits.leave(wait, String(key));
      }
      // Nobody waits for it any more.
      await releaseHere(result.grant, { result: 'abandoned' }, never);
      throw signal.reason;
    });
    return active.track(attempt);
  }

  /** In the line of its name. */
  async function releaseHere({ name, owner }: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const key = keyOf(name);
    const held = holders.get(key);
    const ours = held?.owner === owner;
    // Without tables, what is not held here is not known at all.
    const on = ours ? held.on : await anyMain().get(signal);
    if (!ours && on.plain) return false;
    const released = await on.release(
      {
        ...{ name, owner, key: ours ? String(key) : undefined, result: outcome.result },
        error: outcome.result === 'failed' ? outcome.error.replaceAll('\0', '') : undefined,
        durable: ours ? held.durable : true,
      },
      signal,
    );
    if (ours) forget(key, on);
    return released;
  }

  async function askFor(
    request: AcquireRequest,
    key: bigint,
    on: LockSession,
    first: LockAsk['mode'],
    signal: AbortSignal,
  ): Promise<AcquireResult> {
    const { name, owner, leaseMs, holder, occurrence } = request;
    for (let again = 0; ; again += 1) {
      const asked: LockAsk = {
        ...{ name, key: String(key), owner, host: holder.host, pid: holder.pid, label: holder.label, lease: leaseMs },
        ...{ at_ms: occurrence?.at.getTime(), attempts: occurrence?.attempts, hash: occurrence?.scheduleHash },
        // What is got and cannot be claimed is given back at once.
        mode: first === 2 && again > 0 ? 1 : first,
      };
      let row: Row;
      try {
        row = await on.acquire(asked, signal);
      } catch (error) {
        if (occurrence !== undefined && on.lost.aborted) undo.add(name, owner, on.session);
        throw error;
      }
      const result = on.plain ? plainAnswer(request, row, on) : answer(request, row, on, again);
      if (result !== undefined) return result;
    }
  }

  /** What a row of `acquireSql` means; undefined: somebody was quicker, ask again. */
  function answer(request: AcquireRequest, row: Row, on: LockSession, again: number): AcquireResult | undefined {
    if (row['fence'] != null) {
      const grant = grantOf(request, row, on.lost);
      rememberGuard(grant, { kind: 'advisory', schema, leaseMs: request.leaseMs });
      return { acquired: true, grant };
    }
    const record = parseRecord(row['record']);
    const nowMs = Number(row['now']);
    const refusal = refusalOf(request, record, nowMs, row['got'] !== 'true');
    if (refusal !== undefined) return refusal;
    if (again < 2) return undefined;
    // The lock was ours for a moment, but its row is held: by a transaction that the last holder guarded.
    guarded.add(request.name);
    return { ...heldBy(record, nowMs), expiresInMs: GUARDED_PAUSE_MS };
  }

  /** As `answer`, without a table. */
  function plainAnswer(request: AcquireRequest, row: Row, on: LockSession): AcquireResult {
    const { name, owner } = request;
    if (row['fence'] != null) {
      return { acquired: true, grant: { name, owner, fence: BigInt(row['fence']), attempt: 1, lost: on.lost } };
    }
    const [, pid, host, label] = /^solorun (\d+)@(\S+)(?: (.*))?$/.exec(row['session'] ?? '') ?? [];
    const since = Number(row['since']);
    if (pid === undefined || host === undefined || row['since'] == null) return { acquired: false, reason: 'held' };
    return {
      acquired: false,
      reason: 'held',
      // When the session began: the lock is no older than that.
      holder: { host, pid: Number(pid), ...(label === undefined ? {} : { label }), since: new Date(since) },
    };
  }

  async function untilFree(request: AcquireRequest, signal: AbortSignal): Promise<void> {
    const { name, owner, leaseMs, holder } = request;
    checkOpen();
    checkStorable(name);
    identity ??= holder;
    if (guarded.delete(name)) await pause(GUARDED_PAUSE_MS, signal);
    if (signal.aborted) return;
    const key = keyOf(name);
    const wait = waits.enter(leaseMs);
    return wait === undefined ? watch.until(name, key, signal) : waits.stand(wait, String(key), owner, signal);
  }

  /** The lock is not held here any more. */
  function forget(key: bigint, on: LockSession): void {
    holders.delete(key);
    on.keys.delete(String(key));
    waits.over(on);
  }

  function lapsed(key: string): void {
    const held = holders.get(BigInt(key));
    if (held !== undefined) void line.enter(BigInt(key), () => letGo(BigInt(key), held.owner));
  }

  /** An operator has released it, or its row is gone, or nobody renewed it: the lock goes too. */
  async function letGo(key: bigint, owner: string): Promise<void> {
    const held = holders.get(key);
    if (held?.owner !== owner) return;
    await held.on.query({ text: 'SELECT pg_advisory_unlock($1)::text', values: [String(key)] }).catch((error: unknown) => {
      held.on.session.destroy(error as Error);
    });
    forget(key, held.on);
  }

  function guaranteesNow(): Guarantees {
    const caveats = [
      'The session needs the server itself, or a pooler in session mode; a pooler that shares connections is refused.',
      'An event loop that stands still for longer than the lease loses every lock of the process.',
      'After a fail-over the new primary knows nothing of the locks of the old one: holders learn of it at their next heartbeat.',
    ];
    if (typeof missing === 'string') caveats.push(`No records, no occurrences, and fences that may go back: ${missing}.`);
    const old = version < OLD_SERVER;
    if (old) caveats.push('The server is older than 14: it does not end the session of a paused holder.');
    const plain = typeof missing === 'string';
    return {
      clock: 'server',
      reach: 'fleet',
      expiry: old ? 'while running' : true,
      unbounded: true,
      crash: 'at once',
      fence: plain ? 'until server crash' : 'durable',
      occurrences: !plain,
      wakeUp: waitSessions > 0 ? 'queue' : 'push',
      minLeaseMs: 100,
      caveats,
    };
  }

  function checkOpen(): void {
    if (closed !== undefined) throw new Error('the provider is closed');
  }

  /** A session with tables, for what only they know. */
  async function withRecords(signal: AbortSignal | undefined): Promise<LockSession> {
    checkOpen();
    const on = await anyMain().get(signal);
    if (on.plain) throw schemaRemedy(KIND, missing || 'there are no tables');
    return on;
  }

  return {
    kind: KIND,
    get guarantees() {
      return guaranteesNow();
    },
    tryAcquire,
    untilFree,
    async renew(grant, signal) {
      const held = holders.get(keyOf(grant.name));
      if (held?.owner !== grant.owner) return false;
      const ours = await held.on.confirm(grant.name, grant.owner, String(keyOf(grant.name)), signal);
      if (!ours) await line.enter(keyOf(grant.name), () => letGo(keyOf(grant.name), grant.owner));
      return ours;
    },
    release: (grant, outcome, signal) => active.track(line.enter(keyOf(grant.name), () => releaseHere(grant, outcome, signal))),
    async inspect(name, signal) {
      checkStorable(name);
      const on = await withRecords(signal);
      const [row] = await on.query({ name: 'solorun_inspect', text: statements.inspect, values: [name] });
      return parseRecord(row?.['record']);
    },
    async *list(prefix = '', signal) {
      checkStorable(prefix);
      for (let after = ''; ;) {
        const on = await withRecords(signal);
        const rows = await on.query({ name: 'solorun_list', text: statements.list, values: [prefix, after] });
        for (const { record } of rows) {
          const parsed = parseRecord(record);
          if (parsed !== undefined) yield parsed;
        }
        const last = rows.at(-1)?.['name'];
        if (last == null) return;
        after = last;
      }
    },
    close() {
      closed ??= close();
      return closed;
    },
  };

  async function close(): Promise<void> {
    const limit = finishLimit();
    await active.over(limit);
    await undo.close(limit);
    // Each session tells its holders before it lets go.
    const ending = [...mains.values()].map((main) => main.close());
    await Promise.all([...ending, ...waits.sessions().map(({ session }) => session.end())]);
  }
}

/** For what has to be done whoever gives up. */
const never = new AbortController().signal;

const withArticle: Record<Exclude<Path, 'direct' | 'session pooling'>, string> = {
  'transaction pooling': 'a pooler in transaction mode',
  'statement pooling': 'a pooler in statement mode',
  'one shared backend': 'something that serves all its clients with one backend',
  'no real locks': 'something that grants one lock to two sessions',
};

/** Locks on the server, and how many its lock table is made for. */
const ROOM = `SELECT (SELECT count(*) FROM pg_locks)::text AS used,
  (current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint))::text AS size`;

/** At most 63 bytes of it are kept, so what matters comes first. */
function sessionName(identity: Identity | undefined): string {
  if (identity === undefined) return 'solorun';
  const { host, pid, label } = identity;
  return `solorun ${pid}@${host}${label === undefined ? '' : ` ${label}`}`.replace(/[^ -~]/g, '?').slice(0, 63);
}

function warn(message: string): void {
  process.emitWarning(message, 'SolorunWarning');
}

function checkCount(option: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min)
    throw new OptionError(`${option} is a whole number from ${min}, not ${String(value)}.`);
}
