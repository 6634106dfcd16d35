import type { AcquireRequest, AcquireResult, Finding, Grant, Guarantees, JobRecord, LockProvider, Outcome } from '@solorun/core';
import { bindVerbs, createWatch, delay, KeyedMutex, Questions, unlessAborted, type Watch } from '@solorun/core/server';
import { channelOf } from '../server/channel.ts';
import { createEnder } from '../server/ender.ts';
import { examine, type ExamineTerms } from '../server/examine.ts';
import { rememberGuard } from '../server/guard.ts';
import { checkStorable, keysOf, type Key, type Keys } from '../server/keys.ts';
import { locksOf } from '../server/locks.ts';
import { createRowLocked } from '../server/row-locked.ts';
import type { Session } from '../server/session.ts';
import { Answers } from './answers.ts';
import { Capacity } from './capacity.ts';
import { guaranteesOf } from './guarantees.ts';
import { Holding, Holdings } from './holdings.ts';
import { JobRecords } from './job-records.ts';
import { Opening } from './opening.ts';
import { settingsOf, type PostgresAdvisoryOptions } from './options.ts';
import { MODE, type Ending } from './questions.ts';
import { Queue, type WaitOn } from './queue.ts';
import type { LockSession } from './session.ts';
import { Sessions } from './sessions.ts';
import { Settling } from './settling.ts';
import { recordLocksSql, statementsFor } from './statements.ts';

const KIND = 'postgres-advisory';
/** Polling interval for a name whose last holder's guarded transaction is under way (ms): nothing notifies of its end. */
const GUARDED_PAUSE_MS = 250;
/** Polling interval of waiters outside of the server's queue (ms): it alone shows them that a holder has died. */
const POLL_MS = 700;

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
  return bindVerbs(new AdvisoryProvider(options));
}

class AdvisoryProvider implements LockProvider {
  readonly kind: string = KIND;
  readonly forgetsSignals = true;
  readonly #keys: Keys;
  readonly #hasQueue: boolean;
  readonly #examined: ExamineTerms;
  readonly #onWarning: ((message: string) => void) | undefined;
  readonly #settling: Settling;
  readonly #opening: Opening;
  readonly #sessions: Sessions;
  readonly #holdings = new Holdings();
  readonly #queue: Queue;
  readonly #records: JobRecords;
  readonly #capacity: Capacity;
  readonly #answers: Answers;
  readonly #questions: Questions<Session>;
  readonly #watch: Watch;
  /** Per lock: tries and releases in their order. */
  readonly #turns = new KeyedMutex<string>();
  #trying = 0;

  constructor(options: PostgresAdvisoryOptions) {
    const { schema, maxLocks, waitSessions, waitSliceMs, idleMs, keyspace } = settingsOf(options);
    this.#keys = keysOf(keyspace);
    const locks = locksOf(this.#keys.pairs);
    const statements = statementsFor(schema, locks);
    const channel = channelOf(schema);
    this.#hasQueue = waitSessions > 0;
    const behindPooler = '; session locks need its session mode, postgresLease needs none';
    this.#examined = { connection: options, schema, behindPooler };
    this.#onWarning = options.onWarning;
    this.#settling = new Settling(options, (message) => this.#warn(`${KIND}: ${message}`, 'SOLORUN_SETTLING'));
    this.#opening = new Opening({
      ...{ kind: KIND, connection: options, schema, settling: this.#settling },
      onWarning: (message) => this.#warn(message),
    });
    this.#sessions = new Sessions({
      ...{ kind: KIND, statements, locks, schema, channel, idleMs, waitSliceMs },
      opening: this.#opening,
      lapsed: (lock) => this.#lapsed(lock),
      onIdle: (ending) => void this.#questions.track(ending),
      onNotification: (payload) => this.#watch.notified(payload),
      onLost: (on) => this.#lost(on),
    });
    this.#queue = new Queue({
      places: waitSessions,
      sliceMs: waitSliceMs * 1.1,
      open: (leaseMs) => this.#openForQueue(leaseMs),
      terminate: (pid) => this.#terminate(pid),
    });
    this.#records = new JobRecords({
      ...{ kind: KIND, statements, recordLocks: recordLocksSql(schema), channel, sessions: this.#sessions, opening: this.#opening },
      onTrouble: (message) =>
        this.#warn(
          `${KIND}: the record of who holds what, and of how runs went, cannot be written: ${message}. The locks are not touched.`,
        ),
    });
    this.#capacity = new Capacity(maxLocks);
    this.#answers = new Answers({
      isHeldHere: (lock) => this.#holdings.has(lock) || this.#queue.holds(lock),
      rowLocked: createRowLocked(
        'advisory',
        schema,
        (statement) => this.#sessions.query(statement),
        (message) => this.#warn(`${KIND}: ${message}`, 'SOLORUN_ROW_LOCKED'),
      ),
      onDoubt: ({ name, owner }, on) => this.#questions.takeBack(name, owner, on.session),
    });
    const endBackend = createEnder((statement) => this.#sessions.query(statement));
    this.#questions = new Questions({
      release: async (name, owner, lost) => {
        const over = await endBackend(lost);
        return (await this.#takeBack(name, owner)) || over;
      },
    });
    this.#watch = createWatch({ everyMs: () => POLL_MS, look: (names) => this.#records.look(names) });
  }

  get guarantees(): Guarantees {
    return guaranteesOf({
      missing: this.#opening.missing,
      isOld: this.#opening.isOld,
      hasQueue: this.#hasQueue,
      settling: this.#settling.caveats,
    });
  }

  /** @throws what can be known before anything is asked */
  tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    this.#questions.checkOpen(signal);
    checkStorable(request.name);
    if (request.occurrence?.scheduleHash !== undefined) checkStorable(request.occurrence.scheduleHash);
    this.#sessions.identity ??= request.holder;
    const key = this.#keys.of(request.name);
    return this.#questions.track(this.#turns.run(key.lock, () => this.#tryInTurn(request, key, signal)));
  }

  async #tryInTurn(request: AcquireRequest, key: Key, signal: AbortSignal): Promise<AcquireResult> {
    signal.throwIfAborted();
    const wait = this.#queue.take(request.owner);
    this.#trying += 1;
    let result: AcquireResult | undefined;
    let here: Holding | undefined;
    let on: LockSession | undefined;
    try {
      const doubt = this.#questions.doubt(request.name, signal);
      if (doubt !== undefined) await doubt;
      on = wait?.on ?? this.#sessions.current(request.leaseMs) ?? (await this.#sessions.get(request.leaseMs, signal));
      on.users += 1;
      if (on.isBare) await this.#checkTables(on, request, signal);
      here = this.#holdings.of(key.lock);
      const isHeld = here?.isHeld === true;
      const settlesInMs = isHeld ? 0 : on.settlesInMs(request.leaseMs);
      if (settlesInMs > 0) return this.#settling.refusal(settlesInMs, request);
      const mode = isHeld ? MODE.look : wait === undefined ? MODE.try : MODE.have;
      if (mode === MODE.try && this.#capacity.look(this.#holdings.size, this.#trying)) await this.#capacity.check(on, this.#trying);
      // The table says who holds the lock here, as it says of any other holder.
      if (mode === MODE.look) await this.#records.ledger.written();
      result = await this.#answers.ask(request, key, on, mode, signal);
      // A session that has just ended holds nothing; its end has been told already.
      if (result.acquired && !on.lost.aborted) this.#hold(request, key, result.grant, on);
      if (!result.acquired || !signal.aborted) return result;
    } finally {
      this.#trying -= 1;
      if (on !== undefined) on.users -= 1;
      if (wait !== undefined) await this.#leaveQueue(wait, key, result, here);
    }
    // Nobody waits for it any more.
    await this.#releaseInTurn(result.grant, { result: 'abandoned' }, never);
    throw signal.reason;
  }

  async #checkTables(on: LockSession, request: AcquireRequest, signal: AbortSignal): Promise<void> {
    await unlessAborted(Promise.resolve(on.lookAgain(this.#opening.missing === undefined)), signal);
    if (request.occurrence !== undefined && on.isBare) throw this.#records.withoutTables();
  }

  /** The session of a place in the queue has the lock: it keeps what was granted, and gives back what nobody may have. */
  async #leaveQueue(wait: WaitOn, key: Key, result: AcquireResult | undefined, here: Holding | undefined): Promise<void> {
    if (result === undefined || (here !== undefined && !result.acquired)) await this.#queue.giveBack(wait, key.lock);
    else if (!result.acquired) this.#queue.leave(wait, key.lock);
  }

  #hold(request: AcquireRequest, key: Key, grant: Grant, on: LockSession): void {
    const holding = new Holding(request, key, grant.fence, on, grant.attempt);
    this.#holdings.add(holding);
    this.#answers.guarded.delete(request.name);
    this.#opening.handedOut(grant.fence);
    if (on.isBare) return;
    rememberGuard(grant, holding);
    if (!holding.durable) this.#records.ledger.note(holding);
  }

  async renew(grant: Grant, signal: AbortSignal): Promise<boolean> {
    const key = this.#keys.of(grant.name).lock;
    const held = this.#holdings.of(key);
    if (held?.request.owner !== grant.owner) return false;
    const { name, owner } = grant;
    const ours = await held.on.confirm({ name, owner, fence: String(held.fence), written: held.written }, key, signal);
    if (ours === false) await this.#turns.run(key, () => this.#letGo(held));
    if (ours === 'unwritten') {
      held.written = false;
      this.#records.ledger.note(held);
    }
    return ours !== false;
  }

  release(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const key = this.#keys.of(grant.name).lock;
    return this.#questions.track(this.#turns.run(key, () => this.#releaseInTurn(grant, storable(outcome), signal)));
  }

  async #releaseInTurn(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const key = this.#keys.of(grant.name).lock;
    const held = this.#holdings.of(key);
    if (held?.request.owner !== grant.owner) return this.#releaseElsewhere(grant, outcome, signal);
    if (held.durable || held.on.isBare) {
      const released = await held.on.release(endingOf(grant, outcome, key, held.durable), signal);
      this.#forget(held, outcome);
      return released;
    }
    const freed = await held.on.free(key, signal);
    this.#forget(held, outcome);
    this.#records.ledger.note(held);
    return freed;
  }

  /** Another session holds it, perhaps of another process. */
  async #releaseElsewhere(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const on = await this.#sessions.any(signal);
    // Without tables, what is not held here is not known at all.
    if (on.isBare) return false;
    await this.#records.ledger.written();
    return on.release(endingOf(grant, outcome, undefined, true), signal);
  }

  async untilFree(request: AcquireRequest, signal: AbortSignal): Promise<void> {
    const { name, owner, leaseMs, holder } = request;
    this.#questions.checkOpen();
    checkStorable(name);
    this.#sessions.identity ??= holder;
    if (signal.aborted) return;
    const key = this.#keys.of(name);
    const isGuarded = this.#answers.guarded.delete(name);
    // The queue has nothing to wait for.
    if (this.#answers.unclaimable.delete(name)) await delay(GUARDED_PAUSE_MS, signal);
    if (signal.aborted) return;
    const wait = this.#queue.enter(leaseMs);
    if (wait !== undefined) return this.#queue.stand(wait, key, owner, signal);
    const settlesInMs = (await this.#sessions.get(leaseMs, signal)).settlesInMs(leaseMs);
    const pauseMs = Math.max(settlesInMs, isGuarded ? GUARDED_PAUSE_MS : 0);
    if (pauseMs > 0) await delay(pauseMs, signal);
    return this.#watch.until(name, key.lock, signal);
  }

  async inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    signal?.throwIfAborted();
    checkStorable(name);
    this.#questions.checkOpen();
    return this.#records.inspect(name, signal);
  }

  async *list(prefix = '', signal?: AbortSignal): AsyncGenerator<JobRecord> {
    signal?.throwIfAborted();
    checkStorable(prefix);
    this.#questions.checkOpen();
    yield* this.#records.list(prefix, signal);
  }

  examine(signal?: AbortSignal): Promise<readonly Finding[]> {
    return examine(this.#examined, signal);
  }

  close(): Promise<void> {
    return this.#questions.close(async (limit) => {
      await this.#records.ledger.close(limit);
      // Each session tells its holders before it lets go.
      const waiting = this.#queue.sessions().map(({ session }) => session.end());
      await Promise.all([this.#sessions.close(), ...waiting]);
    });
  }

  #warn(message: string, code?: string): void {
    if (this.#onWarning !== undefined) this.#onWarning(message);
    else process.emitWarning(message, { type: 'SolorunWarning', ...(code !== undefined && { code }) });
  }

  #lost(on: LockSession): void {
    this.#holdings.lost(on);
    if (!on.isIdle) this.#watch.wakeAll();
  }

  /** The lock is not held here any more. */
  #forget(held: Holding, outcome: Outcome): void {
    this.#holdings.end(held, outcome);
    this.#queue.over(held.on);
  }

  #lapsed(key: string): void {
    const held = this.#holdings.of(key);
    if (held !== undefined) void this.#turns.run(key, () => this.#letGo(held));
  }

  /** An operator has released it, or its row is gone, or nobody renewed it: the lock goes too. */
  async #letGo(held: Holding): Promise<void> {
    const { lock } = held.key;
    if (this.#holdings.of(lock) !== held) return;
    await held.on.free(lock, never).catch((error: unknown) => held.on.session.destroy(error as Error));
    this.#forget(held, { result: 'abandoned' });
  }

  async #openForQueue(leaseMs: number | null): Promise<LockSession> {
    const on = await this.#sessions.open(leaseMs, true);
    if (this.#questions.isClosed) await on.session.end();
    this.#questions.checkOpen();
    return on;
  }

  async #terminate(pid: number): Promise<void> {
    const on = await this.#sessions.any();
    await on.query({ text: `SELECT pg_terminate_backend($1${this.#opening.isOld ? '' : ', 1000'})::text`, values: [pid] });
  }

  /** A try whose answer never came may have claimed an occurrence; its lock ended with the session. */
  async #takeBack(name: string, owner: string): Promise<boolean> {
    const on = await this.#sessions.any();
    return on.isBare || on.release(endingOf({ name, owner }, { result: 'abandoned' }, undefined, true), never);
  }
}

interface Ended {
  readonly name: string;
  readonly owner: string;
}

function endingOf({ name, owner }: Ended, outcome: Outcome, key: string | undefined, durable: boolean): Ending {
  return { name, owner, key, result: outcome.result, error: outcome.result === 'failed' ? outcome.error : undefined, durable };
}

/** Without the one character that Postgres cannot keep in a text. */
function storable(outcome: Outcome): Outcome {
  return outcome.result === 'failed' ? { result: 'failed', error: outcome.error.replaceAll('\0', '') } : outcome;
}

/** For work that has to be done although nobody waits for it. */
const never = new AbortController().signal;
