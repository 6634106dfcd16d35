import {
  OptionError,
  type AcquireRequest,
  type AcquireResult,
  type Grant,
  type Guarantees,
  type Identity,
  type LockProvider,
  type Outcome,
  type Refusal,
} from '@solorun/core';
import {
  type Connector,
  createActive,
  createConnector,
  createUndo,
  createWatch,
  delay,
  finishLimit,
  unlessAborted,
} from '@solorun/core/server';
import { checkConnection, type PostgresConnection, type Row } from './client.ts';
import { rememberGuard } from './guard.ts';
import { checkKeyspace, checkStorable, keysOf, type Key, type Keyspace } from './key.ts';
import { Holding } from './holding.ts';
import { createLedger, LAG_MS } from './ledger.ts';
import { createLine } from './line.ts';
import { createLockSession, type LockAsk, type LockSession } from './lock-session.ts';
import { createOpening } from './opening.ts';
import { locksOf } from './locks.ts';
import { grantOf, heldBy, parseRecord, refusalOf } from './record.ts';
import { createRoom } from './room.ts';
import { createRowLocked } from './row-locked.ts';
import { checkSchema, DEFAULT_SCHEMA, schemaRemedy, type SchemaOptions } from './schema.ts';
import { createEnder, wasSent, type Session } from './session.ts';
import { checkSettling, createSettling, type SettlingOptions } from './settling.ts';
import { questions, recordLocksSql, statementsFor } from './statements.ts';
import { createWaits } from './waits.ts';
import { channelOf } from './channel.ts';

export interface PostgresAdvisoryOptions extends PostgresConnection, SchemaOptions, SettlingOptions {
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
  /**
   * How long a session is kept that holds no lock and is asked for nothing, in ms: from 1,000, or `Infinity`. Until then its heartbeat
   * goes on; afterwards the server hears nothing, and the next try connects anew. A serverless Postgres can sleep so. @default 120_000
   */
  readonly idleMs?: number | undefined;
  /**
   * Which number a name becomes, so that programs of another kind can hold the same locks: `advisory-lock` for the npm package of that
   * name and its `withlock`, `pals` for Python's PALs (the lock is then named as PALs names it: `app.name`). Use no `namespace` then:
   * they have none. @default 'solorun'
   */
  readonly keyspace?: Keyspace | undefined;
  /**
   * Called with what is missing on an old server, or with a role that may create nothing, and when a server grants nothing yet.
   * @default a process warning
   */
  readonly onWarning?: ((message: string) => void) | undefined;
}

const KIND = 'postgres-advisory';
const OPTIONS = ['schema', 'maxLocks', 'waitSessions', 'waitSliceMs', 'idleMs', 'keyspace', 'settleMs', 'settleAfter', 'onWarning'];
/** A name comes free when a guarded transaction of its last holder ends: nobody tells those outside of the queue, in ms. */
const GUARDED_PAUSE_MS = 250;
/** So often it is looked, a quarter of the ledger's lag apart, whether the record of a new holder has been written. */
const LOOKS = 10;
const SILENT_KEPT = 1_000;
/** How often those look who wait outside of the server's queue, in ms: for them a dead holder shows itself only so. */
const LOOK_MS = 700;

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
  checkConnection(options, 'postgresAdvisory', OPTIONS);
  const { schema = DEFAULT_SCHEMA, maxLocks = 10_000, waitSessions = 1, waitSliceMs = 12_000 } = options;
  const { keyspace = 'solorun', idleMs = 120_000, onWarning } = options;
  checkSchema(schema);
  checkSettling(options);
  checkKeyspace(keyspace);
  checkCount('maxLocks', maxLocks, 1);
  checkCount('waitSessions', waitSessions, 0);
  checkCount('waitSliceMs', waitSliceMs, 100);
  if (idleMs !== Number.POSITIVE_INFINITY) checkCount('idleMs', idleMs, 1_000);

  const keys = keysOf(keyspace);
  const locks = locksOf(keys.pairs);
  const statements = statementsFor('advisory', schema, locks);
  const channel = channelOf(schema);
  const line = createLine<string>();
  const active = createActive();
  const warn = (message: string, code?: string): void => {
    if (onWarning !== undefined) onWarning(message);
    else process.emitWarning(message, { type: 'SolorunWarning', ...(code !== undefined && { code }) });
  };
  const settling = createSettling(options, (message) => warn(`${KIND}: ${message}`, 'SOLORUN_SETTLING'));
  const opening = createOpening({ kind: KIND, connection: options, schema, settling, onWarning: warn });
  const room = createRoom(maxLocks);
  /** Locks held in this process, on whichever session: a session would be granted its own lock a second time. */
  const holders = new Map<string, Holding>();
  const ledger = createLedger(writeDown, (message) =>
    warn(`${KIND}: the record of who holds what, and of how runs went, cannot be written: ${message}. The locks are not touched.`),
  );
  /** One session per length of lease: the server knows one time-out per session. */
  const mains = new Map<number | null, Connector<LockSession>>();
  const guarded = new Set<string>();
  /** Names that are free, but whose rows another transaction has locked. */
  const unclaimable = new Set<string>();
  /** Sessions that hold a lock and did not write who they are, by the lock. */
  const silent = new Map<string, string>();
  let closed: Promise<void> | undefined;
  let identity: Identity | undefined;
  let trying = 0;

  async function open(leaseMs: number | null, waiting: boolean): Promise<LockSession> {
    const { session, plain, settlesInMs } = await opening.open({
      ...{ leaseMs, identity, lockTimeoutMs: waiting ? waitSliceMs : undefined },
    });
    const prepare = (): Promise<boolean> => opening.prepare(session);
    const onIdle = (): void => void active.track(session.end());
    const made = createLockSession(session, {
      ...{ kind: KIND, leaseMs, statements, locks, schema, channel, plain, settlesInMs, prepare, lapsed, idleMs, onIdle },
    });
    session.onNotification((heard, payload) => {
      if (heard === channel) watch.notified(payload);
    });
    made.lost.addEventListener(
      'abort',
      () => {
        for (const [key, { on }] of holders) if (on === made) holders.delete(key);
        // A pooler may share connections by then.
        if (!made.idle || session.proxied) opening.forgetPath();
        if (made.plain) opening.forgetMissing();
        if (made.idle) return;
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

  async function writeDown(rows: readonly object[]): Promise<readonly number[]> {
    const on = await anyMain().get();
    // Of sessions without tables nothing is noted: it is the turn of another one, or this one sees now what that one has seen.
    await on.lookAgain(true);
    if (on.plain) throw new Error(opening.missing() ?? 'this session began before the tables were there');
    const values = [questions(rows), channel];
    return (await on.queryTables({ name: 'solorun_record', text: recordLocksSql(schema), values })).map(({ ord }) => Number(ord));
  }

  const watch = createWatch({
    everyMs: () => LOOK_MS,
    async look(names) {
      const on = await anyMain().get();
      if (on.plain) return names.map(({ name }) => name);
      await on.listen(channel);
      const rows = await on.queryTables({ name: 'solorun_watch', text: statements.watch, values: [JSON.stringify(names)] });
      return rows.map(({ name }) => name!);
    },
  });

  const waits = createWaits({
    places: waitSessions,
    sliceMs: waitSliceMs * 1.1,
    async open(leaseMs) {
      const on = await open(leaseMs, true);
      if (closed !== undefined) await on.session.end();
      checkOpen();
      return on;
    },
    async terminate(pid) {
      const on = await anyMain().get();
      await on.query({ text: `SELECT pg_terminate_backend($1${opening.isOld() ? '' : ', 1000'})::text`, values: [pid] });
    },
  });

  const rowLocked = createRowLocked(
    'advisory',
    schema,
    async (statement) => (await anyMain().get()).query(statement),
    (message) => warn(`${KIND}: ${message}`, 'SOLORUN_ROW_LOCKED'),
  );

  /** A try whose answer never came may have claimed an occurrence; its lock ended with the session. */
  const endBackend = createEnder(async (statement) => (await anyMain().get()).query(statement));
  const undo = createUndo<Session>(async (name, owner, lost) => {
    const over = await endBackend(lost);
    const on = await anyMain().get();
    const abandoned = { name, owner, key: undefined, result: 'abandoned', error: undefined, durable: true };
    return on.plain || (await on.release(abandoned, never)) || over;
  });

  function tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const key = checked(request, signal);
    return active.track(line.enter(key.lock, () => inTurn(request, key, signal)));
  }

  /** @throws what can be known before anything is asked */
  function checked(request: AcquireRequest, signal: AbortSignal): Key {
    signal.throwIfAborted();
    checkOpen();
    checkStorable(request.name);
    if (request.occurrence?.scheduleHash !== undefined) checkStorable(request.occurrence.scheduleHash);
    identity ??= request.holder;
    return keys.of(request.name);
  }

  /** In the line of its name. */
  async function inTurn(request: AcquireRequest, key: Key, signal: AbortSignal): Promise<AcquireResult> {
    signal.throwIfAborted();
    const wait = waits.take(request.owner);
    trying += 1;
    let result: AcquireResult | undefined;
    let here: Holding | undefined;
    let on: LockSession | undefined;
    try {
      // What an unanswered try may have claimed is given back before the next one is judged by it.
      const doubt = undo.settled(request.name);
      if (doubt !== undefined) await unlessAborted(doubt, signal);
      on = wait?.on ?? mainFor(request.leaseMs).current ?? (await mainFor(request.leaseMs).get(signal));
      on.users += 1;
      if (on.plain) await unlessAborted(Promise.resolve(on.lookAgain(opening.missing() === undefined)), signal);
      if (request.occurrence !== undefined && on.plain)
        throw schemaRemedy(KIND, opening.missing() ?? 'the session began before the tables were there');
      here = holders.get(key.lock);
      const held = here?.isHeld === true;
      const settlesInMs = held ? 0 : on.settlesInMs(request.leaseMs);
      if (settlesInMs > 0) return settling.refusal(settlesInMs, request);
      const full = wait === undefined && !held && room.look(holders.size, trying);
      if (full) await room.check(on, trying);
      // Who holds it here is told from the table, like anybody else.
      if (held) await ledger.written();
      result = await askFor(request, key, on, held ? 0 : wait !== undefined ? 2 : 1, signal);
      // A session that has just ended holds nothing; its end has been told already.
      if (result.acquired && !on.lost.aborted) hold(request, key, result.grant, on);
      if (!result.acquired || !signal.aborted) return result;
    } finally {
      trying -= 1;
      if (on !== undefined) on.users -= 1;
      if (wait !== undefined && (result === undefined || (here !== undefined && !result.acquired))) {
        await waits.giveBack(wait, key.lock);
      } else if (wait !== undefined && result?.acquired === false) {
        waits.leave(wait, key.lock);
      }
    }
    // Nobody waits for it any more.
    await releaseHere(result.grant, { result: 'abandoned' }, never);
    throw signal.reason;
  }

  function hold(request: AcquireRequest, key: Key, grant: Grant, on: LockSession): void {
    const holding = new Holding(request, key, grant.fence, on, grant.attempt);
    holders.set(key.lock, holding);
    guarded.delete(request.name);
    opening.handedOut(grant.fence);
    on.hold(key.lock);
    if (on.plain) return;
    rememberGuard(grant, holding);
    if (!holding.durable) ledger.note(holding);
  }

  /** In the line of its name. */
  async function releaseHere(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const key = keys.of(grant.name).lock;
    const held = holders.get(key);
    if (held === undefined || held.request.owner !== grant.owner || held.durable || held.on.plain) {
      return releaseFully(grant, storable(outcome), signal);
    }
    const freed = await held.on.free(key, signal);
    forget(held, storable(outcome));
    ledger.note(held);
    return freed;
  }

  async function releaseFully({ name, owner }: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const key = keys.of(name).lock;
    const held = holders.get(key);
    const ours = held?.request.owner === owner;
    // Without tables, what is not held here is not known at all.
    const on = ours ? held.on : await anyMain().get(signal);
    if (!ours && on.plain) return false;
    if (!ours) await ledger.written();
    const released = await on.release(
      {
        ...{ name, owner, key: ours ? key : undefined, result: outcome.result },
        error: outcome.result === 'failed' ? outcome.error : undefined,
        durable: ours ? held.durable : true,
      },
      signal,
    );
    if (ours) forget(held, outcome);
    return released;
  }

  /** @param mode as in `LockAsk` */
  async function askFor(
    request: AcquireRequest,
    key: Key,
    on: LockSession,
    mode: LockAsk['mode'],
    signal: AbortSignal,
  ): Promise<AcquireResult> {
    if (request.occurrence !== undefined || on.plain || mode === 0) return askFully(request, key, on, mode, signal);
    const taken = await on.take(key, mode === 2, signal);
    if (taken === 'guarded') return heldByGuard(request, key, on, signal);
    if (taken === undefined) return askFully(request, key, on, 0, signal);
    return { acquired: true, grant: { name: request.name, owner: request.owner, fence: taken, attempt: 1, lost: on.lost } };
  }

  async function askFully(
    request: AcquireRequest,
    key: Key,
    on: LockSession,
    mode: LockAsk['mode'],
    signal: AbortSignal,
  ): Promise<AcquireResult> {
    const { name, owner, occurrence } = request;
    for (let again = 0; ; again += 1) {
      // What is got and cannot be claimed is given back at once.
      const asked = questionOf(request, key, mode === 2 && again > 0 ? 1 : mode);
      let row: Row;
      try {
        row = await on.acquire(asked, signal);
      } catch (error) {
        if (occurrence !== undefined && on.lost.aborted && wasSent(error)) undo.add(name, owner, on.session);
        throw error;
      }
      const result = on.plain ? plainAnswer(request, row, on) : answer(request, row, on);
      if (result === 'guarded') return heldByGuard(request, key, on, signal);
      if (result !== undefined && (result.acquired || !isUnwritten(result, row, key, again))) return result;
      // Its row is being written by somebody at this moment, or locked by somebody for longer.
      if (result === undefined && again >= LOOKS) {
        unclaimable.add(name);
        const detail = await rowLocked.explain(name);
        return { acquired: false, reason: 'held', detail, record: parseRecord(row['record']) };
      }
      await delay(LAG_MS / 4, signal);
    }
  }

  /** What a row of `acquireSql` means; undefined: somebody was quicker, ask again. */
  function answer(request: AcquireRequest, row: Row, on: LockSession): AcquireResult | 'guarded' | undefined {
    if (row['fence'] != null) return { acquired: true, grant: grantOf(request, row, on.lost) };
    if (row['locked'] === 'true' && row['got'] !== 'true') return 'guarded';
    return refusalOf(request, parseRecord(row['record']), Number(row['now']), row['got'] !== 'true');
  }

  /**
   * Somebody of ours has the lock, as its session's name tells, but who it is has not been written yet. Nobody but us calls sessions
   * so; a holder of another kind has no record, and is not waited for. Nor is one who did not write it in time, and one of this process
   * that waits for this very line.
   */
  function isUnwritten(result: Refusal, row: Row, key: Key, again: number): boolean {
    const { session } = row;
    if (result.reason !== 'held' || result.holder !== undefined || session?.startsWith('solorun') !== true) return false;
    if (silent.get(key.lock) === session || holders.has(key.lock) || waits.holds(key.lock)) return false;
    if (again < LOOKS) return true;
    if (silent.size >= SILENT_KEPT) silent.clear();
    silent.set(key.lock, session);
    return false;
  }

  /** A transaction is under way that the last holder guarded. Whoever has no place in the server's queue looks now and then. */
  async function heldByGuard(request: AcquireRequest, key: Key, on: LockSession, signal: AbortSignal): Promise<AcquireResult> {
    guarded.add(request.name);
    const row = await on.acquire(questionOf(request, key, 0), signal);
    const record = parseRecord(row['record']);
    return { ...heldBy(record, Number(row['now'])), holder: record?.holder };
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
    if (signal.aborted) return;
    const key = keys.of(name);
    const isGuarded = guarded.delete(name);
    // The queue has nothing to wait for.
    if (unclaimable.delete(name)) await delay(GUARDED_PAUSE_MS, signal);
    if (signal.aborted) return;
    const wait = waits.enter(leaseMs);
    if (wait !== undefined) return waits.stand(wait, key, owner, signal);
    const settlesInMs = (await mainFor(leaseMs).get(signal)).settlesInMs(leaseMs);
    const pauseMs = Math.max(settlesInMs, isGuarded ? GUARDED_PAUSE_MS : 0);
    if (pauseMs > 0) await delay(pauseMs, signal);
    return watch.until(name, key.lock, signal);
  }

  /** The lock is not held here any more. */
  function forget(held: Holding, outcome: Outcome): void {
    held.end(outcome);
    holders.delete(held.key.lock);
    held.on.keys.delete(held.key.lock);
    waits.over(held.on);
  }

  function lapsed(key: string): void {
    const held = holders.get(key);
    if (held !== undefined) void line.enter(key, () => letGo(held));
  }

  /** An operator has released it, or its row is gone, or nobody renewed it: the lock goes too. */
  async function letGo(held: Holding): Promise<void> {
    if (holders.get(held.key.lock) !== held) return;
    await held.on.free(held.key.lock, never).catch((error: unknown) => held.on.session.destroy(error as Error));
    forget(held, { result: 'abandoned' });
  }

  function guaranteesNow(): Guarantees {
    const caveats = [
      'The session needs the server itself, or a pooler in session mode; a pooler that shares connections is refused.',
      'An event loop that stands still for longer than the lease loses every lock of the process.',
      ...settling.caveats,
    ];
    const missing = opening.missing();
    if (missing !== undefined) caveats.push(`No records, no occurrences, and fences that may go back: ${missing}.`);
    const old = opening.isOld();
    if (old) caveats.push('The server is older than 14: it does not end the session of a paused holder.');
    const plain = missing !== undefined;
    return {
      clock: 'server',
      reach: 'fleet',
      expiry: old ? 'while running' : true,
      unbounded: true,
      crash: 'at once',
      fence: plain ? 'until server crash' : 'durable',
      occurrences: !plain,
      wakeUp: waitSessions > 0 ? 'queue' : 'push',
      recordLagMs: LAG_MS * 5,
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
    await on.lookAgain(true);
    if (on.plain) throw schemaRemedy(KIND, opening.missing() ?? 'the session began before the tables were there');
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
      const key = keys.of(grant.name).lock;
      const held = holders.get(key);
      if (held?.request.owner !== grant.owner) return false;
      const { name, owner } = grant;
      const ours = await held.on.confirm({ name, owner, fence: String(held.fence), written: held.written }, key, signal);
      if (ours === false) await line.enter(key, () => letGo(held));
      if (ours === 'unwritten') {
        held.written = false;
        ledger.note(held);
      }
      return ours !== false;
    },
    release: (grant, outcome, signal) =>
      active.track(line.enter(keys.of(grant.name).lock, () => releaseHere(grant, outcome, signal))),
    async inspect(name, signal) {
      checkStorable(name);
      const on = await withRecords(signal);
      await ledger.written();
      const [row] = await on.queryTables({ name: 'solorun_inspect', text: statements.inspect, values: [name] });
      return parseRecord(row?.['record']);
    },
    async *list(prefix = '', signal) {
      checkStorable(prefix);
      await ledger.written();
      for (let after = ''; ;) {
        const on = await withRecords(signal);
        const rows = await on.queryTables({ name: 'solorun_list', text: statements.list, values: [prefix, after] });
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
    await ledger.close(limit);
    // Each session tells its holders before it lets go.
    const ending = [...mains.values()].map((main) => main.close());
    await Promise.all([...ending, ...waits.sessions().map(({ session }) => session.end())]);
  }
}

function questionOf({ name, owner, leaseMs, holder, occurrence }: AcquireRequest, key: Key, mode: LockAsk['mode']): LockAsk {
  return {
    ...{ name, key: key.lock, guard: key.guard, mode, owner, host: holder.host, pid: holder.pid, label: holder.label },
    ...{ lease: leaseMs, at_ms: occurrence?.at.getTime(), attempts: occurrence?.attempts, hash: occurrence?.scheduleHash },
  };
}

/** Without the one character that Postgres cannot keep in a text. */
function storable(outcome: Outcome): Outcome {
  return outcome.result === 'failed' ? { result: 'failed', error: outcome.error.replaceAll('\0', '') } : outcome;
}

/** For what has to be done whoever gives up. */
const never = new AbortController().signal;

function checkCount(option: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min)
    throw new OptionError(`${option} is a whole number from ${min}, not ${String(value)}.`);
}
