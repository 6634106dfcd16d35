import type {
  AcquireRequest,
  AcquireResult,
  Finding,
  ForgetTerms,
  Grant,
  Guarantees,
  JobRecord,
  LockProvider,
  NamedPause,
  OccurrenceState,
  Outcome,
  Pause,
  PauseTerms,
  RunRecord,
} from '@solorun/core';
import { bindVerbs, createWatch, delay, Questions, type Watch } from '@solorun/core/server';
import { channelOf } from '../server/channel.ts';
import { createEnder } from '../server/ender.ts';
import { examine, type ExamineTerms } from '../server/examine.ts';
import { checkStorable, keysOf, type Keys } from '../server/keys.ts';
import { locksOf } from '../server/locks.ts';
import { createRowLocked } from '../server/row-locked.ts';
import type { Session } from '../server/session.ts';
import { storable, Upkeep } from '../server/upkeep.ts';
import { Answers } from './answers.ts';
import { Capacity } from './capacity.ts';
import { guaranteesOf } from './guarantees.ts';
import { Holdings } from './holdings.ts';
import { JobRecords } from './job-records.ts';
import { Opening } from './opening.ts';
import { settingsOf, type PostgresAdvisoryOptions } from './options.ts';
import { Queue } from './queue.ts';
import type { LockSession } from './session.ts';
import { Sessions } from './sessions.ts';
import { Settling } from './settling.ts';
import { Turns } from './turns.ts';
import { recordLocksSql } from './record-locks-statement.ts';
import { statementsFor } from './statements.ts';

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
  readonly #upkeep: Upkeep;
  readonly #answers: Answers;
  readonly #questions: Questions<Session>;
  readonly #watch: Watch;
  readonly #turns: Turns;

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
      ...{ kind: KIND, statements, locks, holdings: this.#holdings, schema, channel, idleMs, waitSliceMs },
      opening: this.#opening,
      lapsed: (lock) => this.#turns.lapsed(lock),
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
      onTrouble: (message) => this.#warn(unwritten(message)),
    });
    const rowLocked = createRowLocked(
      'advisory',
      schema,
      (statement) => this.#sessions.query(statement),
      (message) => this.#warn(`${KIND}: ${message}`, 'SOLORUN_ROW_LOCKED'),
    );
    this.#upkeep = new Upkeep({ kind: KIND, statements, rowLocked, ask: (statement) => this.#records.ask(statement) });
    this.#answers = new Answers({
      isHeldHere: (lock) => this.#holdings.has(lock) || this.#queue.holds(lock),
      rowLocked,
      onDoubt: ({ name, owner }, on) => this.#questions.takeBack(name, owner, on.session),
    });
    const endBackend = createEnder((statement) => this.#sessions.query(statement));
    this.#questions = new Questions({
      release: async (name, owner, lost) => {
        const over = await endBackend(lost);
        return (await this.#turns.takeBack(name, owner)) || over;
      },
    });
    this.#turns = new Turns({
      ...{ holdings: this.#holdings, sessions: this.#sessions, queue: this.#queue, records: this.#records, answers: this.#answers },
      ...{ opening: this.#opening, settling: this.#settling, questions: this.#questions, capacity: new Capacity(maxLocks) },
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

  tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    this.#questions.checkOpen(signal);
    checkStorable(request.name);
    if (request.occurrence?.scheduleHash !== undefined) checkStorable(request.occurrence.scheduleHash);
    this.#sessions.identity ??= request.holder;
    const key = this.#keys.of(request.name);
    return this.#questions.track(this.#turns.try(request, key, signal));
  }

  renew(grant: Grant, signal: AbortSignal): Promise<boolean> {
    return this.#turns.renew(grant, this.#keys.of(grant.name), signal);
  }

  release(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const told: Outcome = outcome.result === 'failed' ? { result: 'failed', error: storable(outcome.error) } : outcome;
    return this.#questions.track(this.#turns.release(grant, this.#keys.of(grant.name), told, signal));
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
    this.#checkVerb(name, signal);
    return this.#upkeep.inspect(name, signal);
  }

  async *list(prefix = '', signal?: AbortSignal): AsyncGenerator<JobRecord> {
    this.#checkVerb(prefix, signal);
    yield* this.#upkeep.list(prefix, signal);
  }

  async pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    this.#checkVerb(name, signal);
    return this.#questions.track(this.#upkeep.pause(name, terms, signal));
  }

  async resume(name: string, signal: AbortSignal): Promise<boolean> {
    this.#checkVerb(name, signal);
    return this.#questions.track(this.#upkeep.resume(name, signal));
  }

  async *pauses(prefix = '', signal?: AbortSignal): AsyncGenerator<NamedPause> {
    this.#checkVerb(prefix, signal);
    yield* this.#upkeep.pauses(prefix, signal);
  }

  async runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    this.#checkVerb(name, signal);
    return this.#upkeep.runs(name, limit, signal);
  }

  async reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    this.#checkVerb(name, signal);
    return this.#questions.track(this.#upkeep.reopen(name, signal));
  }

  async forget(name: string, terms: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    this.#checkVerb(name, signal);
    return this.#questions.track(this.#upkeep.forget(name, terms, signal));
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

  #checkVerb(name: string, signal: AbortSignal | undefined): void {
    this.#questions.checkOpen(signal);
    checkStorable(name);
  }

  #warn(message: string, code?: string): void {
    if (this.#onWarning !== undefined) this.#onWarning(message);
    else process.emitWarning(message, { type: 'SolorunWarning', ...(code !== undefined && { code }) });
  }

  #lost(on: LockSession): void {
    this.#holdings.lost(on);
    if (!on.isIdle) this.#watch.wakeAll();
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
}

function unwritten(message: string): string {
  return `${KIND}: the record of who holds what, and of how runs went, cannot be written: ${message}. The locks are not touched.`;
}
