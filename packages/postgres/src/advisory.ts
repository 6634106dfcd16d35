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
import { rememberGuard } from './guard.ts';
import { checkStorable, keyOf } from './key.ts';
import { createLine } from './line.ts';
import { createLockSession, type LockAsk, type LockSession } from './lock-session.ts';
import { createOpening } from './opening.ts';
import { grantOf, heldBy, parseRecord, refusalOf } from './record.ts';
import { createRoom } from './room.ts';
import { checkSchema, DEFAULT_SCHEMA, schemaRemedy, type SchemaOptions } from './schema.ts';
import { endBackend, type Session } from './session.ts';
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
/** A name whose row a guarded transaction holds comes free when that commits: nobody tells, in ms. */
const GUARDED_PAUSE_MS = 100;
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
  const opening = createOpening({ kind: KIND, connection: options, schema, onWarning });
  const room = createRoom(maxLocks);
  /** Locks held in this process, on whichever session: a session would be granted its own lock a second time. */
  const holders = new Map<bigint, { readonly owner: string; readonly on: LockSession; readonly durable: boolean }>();
  /** One session per length of lease: the server knows one time-out per session. */
  const mains = new Map<number | null, Connector<LockSession>>();
  const guarded = new Set<string>();
  let closed: Promise<void> | undefined;
  let identity: Identity | undefined;
  let trying = 0;

  async function open(leaseMs: number | null, waiting: boolean): Promise<LockSession> {
    const { session, plain } = await opening.open({ leaseMs, identity, lockTimeoutMs: waiting ? waitSliceMs : undefined });
    const made = createLockSession(session, { kind: KIND, leaseMs, statements, channel, plain, lapsed });
    session.onNotification((heard, payload) => {
      if (heard === channel) watch.notified(payload);
    });
    made.lost.addEventListener(
      'abort',
      () => {
        for (const [key, { on }] of holders) if (on === made) holders.delete(key);
        opening.forgetPath();
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

  /** A try whose answer never came may have claimed an occurrence; its lock ended with the session. */
  const undo = createUndo<Session>(async (name, owner, lost) => {
    const on = await anyMain().get();
    if (lost?.proxied === false) await on.query(endBackend(lost));
    const abandoned = { name, owner, key: undefined, result: 'abandoned', error: undefined, durable: true };
    return on.plain || (await on.release(abandoned, never));
  });

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
        if (request.occurrence !== undefined && on.plain)
          throw schemaRemedy(KIND, opening.missing() ?? 'the session began before the tables were there');
        const held = holders.get(key)?.on.lost.aborted === false;
        if (wait === undefined && !held) await room.check(on, holders.size, trying);
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

function warn(message: string): void {
  process.emitWarning(message, 'SolorunWarning');
}

function checkCount(option: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min)
    throw new OptionError(`${option} is a whole number from ${min}, not ${String(value)}.`);
}
