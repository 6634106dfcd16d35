import {
  UnsupportedError,
  type AcquireRequest,
  type AcquireResult,
  type Finding,
  type ForgetTerms,
  type Grant,
  type Guarantees,
  type JobRecord,
  type LockProvider,
  type NamedPause,
  type OccurrenceState,
  type Outcome,
  type Pause,
  type PauseTerms,
  type RunRecord,
} from '@solorun/core';
import { bindVerbs, createOutlasted, createWatch, delay, Questions, unlessAborted, type Watch } from '@solorun/core/server';
import { channelOf } from '../server/channel.ts';
import type { Row, Statement } from '../server/client.ts';
import { sqlState } from '../server/errors.ts';
import { rememberGuard } from '../server/guard.ts';
import { createEnder } from '../server/ender.ts';
import { examine, examinePool } from '../server/examine.ts';
import { checkStorable, keysOf } from '../server/keys.ts';
import { grantOf, leaseSeen, parseRecord, refusalOfRow, type LeaseSeen } from '../server/records.ts';
import { createRowLocked } from '../server/row-locked.ts';
import { DEFAULT_SCHEMA } from '../server/schema.ts';
import type { Session } from '../server/session.ts';
import { Batches, tryOf, type Try } from './batches.ts';
import { guaranteesOf } from './guarantees.ts';
import { PoolLink, SessionLink, type Link } from './link.ts';
import { checkOptions, type PostgresLeaseOptions } from './options.ts';
import { statementsFor } from './statements.ts';
import { storable, Upkeep } from '../server/upkeep.ts';
import { Tables } from './tables.ts';

const KIND = 'postgres-lease';
/** After so long without an answer a connection is doubted, and another one opened beside it (ms): renewals stand in line behind it. */
const CALL_MS = 5_000;
const SHORTEST_CALL_MS = 500;
/** Polling interval of waiters that also get notifications, in case one is lost (ms). The core polls by itself when a lease ends. */
const LISTENING_MS = 4_000;
/** Polling interval of waiters without notifications (ms). */
const POLL_MS = 300;
/** The same for a name whose row a guarded transaction holds (ms): it comes free when that commits, and nothing notifies. */
const GUARDED_PAUSE_MS = 100;
/** Another process's statement has a row for about so long, in ms. */
const BUSY_MS = 20;
/** Of a statement that lost a race. */
const RETRIES = 3;

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
  checkOptions(options);
  return bindVerbs(new LeaseProvider(options));
}

class LeaseProvider implements LockProvider {
  readonly kind: string = KIND;
  readonly forgetsSignals = true;
  readonly #options: PostgresLeaseOptions;
  readonly #schema: string;
  readonly #keys = keysOf('solorun');
  readonly #link: Link;
  readonly #tables: Tables;
  readonly #batches: Batches;
  readonly #questions: Questions<Session>;
  readonly #watch: Watch;
  readonly #rowLocked: ReturnType<typeof createRowLocked>;
  readonly #upkeep: Upkeep;
  /** Grants whose runs are kept. */
  readonly #kept = new WeakSet<Grant>();
  /** Leases that lie further ahead of the server's clock than they last, as that was set back: they are timed here. */
  readonly #outlasted = createOutlasted();
  /** Names whose rows another transaction has locked. */
  readonly #guarded = new Set<string>();
  /** So that half of the shortest lease is left for another connection. */
  #callMs = CALL_MS;

  constructor(options: PostgresLeaseOptions) {
    const { pool, schema = DEFAULT_SCHEMA, notify = true } = options;
    const channel = channelOf(schema);
    this.#options = options;
    this.#schema = schema;
    const statements = statementsFor(schema);
    const terms = { kind: KIND, connection: options, channel: notify ? channel : undefined, callMs: () => this.#callMs };
    this.#link =
      pool === undefined
        ? new SessionLink({
            ...terms,
            onNotification: (payload) => this.#watch.notified(payload),
            onLoss: () => this.#watch.wakeAll(),
          })
        : new PoolLink(KIND, pool);
    this.#tables = new Tables(KIND, schema, this.#link);
    this.#batches = new Batches(this.#tables, statements, schema, channel);
    this.#watch = createWatch({
      everyMs: () => (this.#link.listens ? LISTENING_MS : POLL_MS),
      look: async (names) => {
        const values = [JSON.stringify(names)];
        const rows = await this.#tables.ask({ name: 'solorun_watch', text: statements.watch, values });
        return rows.map(({ name }) => name!);
      },
    });
    const endBackend = createEnder((statement) => this.#tables.ask(statement));
    this.#questions = new Questions({
      release: async (name, owner, lost) => {
        const over = await endBackend(lost);
        return (await this.#batches.releasing.ask({ name, owner, result: 'abandoned', error: undefined, kept: false })) || over;
      },
      mayHaveRun,
      lostBy: (error) => this.#link.lostBy(error),
    });
    this.#rowLocked = createRowLocked(
      'lease',
      schema,
      (statement) => this.#tables.ask(statement),
      (message) => process.emitWarning(`${KIND}: ${message}`, { type: 'SolorunWarning', code: 'SOLORUN_ROW_LOCKED' }),
    );
    const ask = (statement: Statement): Promise<readonly Row[]> => this.#tables.ask(statement);
    this.#upkeep = new Upkeep({ kind: KIND, statements, ask, rowLocked: this.#rowLocked });
  }

  get guarantees(): Guarantees {
    return guaranteesOf(this.#link.listens);
  }

  async tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const { name, leaseMs, occurrence } = request;
    this.#questions.checkOpen(signal);
    checkStorable(name);
    if (occurrence?.scheduleHash !== undefined) checkStorable(occurrence.scheduleHash);
    if (leaseMs === null) {
      throw new UnsupportedError(`${KIND} cannot hold a lease without an end: nothing would tell that its holder is gone.`);
    }
    const doubt = this.#questions.doubt(name, signal);
    if (doubt !== undefined) await doubt;
    this.#callMs = Math.min(this.#callMs, Math.max(SHORTEST_CALL_MS, leaseMs / 2));
    const asked = tryOf(request, leaseMs, this.#keys.of(name).lock);
    let over: LeaseSeen | undefined;
    for (let again = 0; ; again += 1) {
      const row = await this.#askRow(request, { ...asked, over_owner: over?.owner, over_at: over?.expiresAt }, signal);
      if (row['fence'] != null) return this.#granted(request, leaseMs, row);
      const refusal = this.#refusal(request, row);
      if (refusal === 'over') over = leaseSeen(row['record']);
      else if (refusal !== undefined) return refusal;
      // Once more where the lease in the way is over; but the row may be locked even so.
      if (again >= 2) return this.#heldByRow(name, row, signal);
    }
  }

  #askRow(request: AcquireRequest, asked: Try, signal: AbortSignal): Promise<Row> {
    const asking = this.#batches.acquiring.ask(asked, signal);
    return this.#questions.answerSoon(request, asking, isGrant, signal);
  }

  #granted(request: AcquireRequest, leaseMs: number, row: Row): AcquireResult {
    const grant = grantOf(request, row);
    this.#tables.granted(grant.fence);
    if (request.occurrence !== undefined || request.history === true) this.#kept.add(grant);
    rememberGuard(grant, { kind: 'lease', schema: this.#schema, leaseMs });
    return { acquired: true, grant };
  }

  /** Why there is no lease. `over`: the lease in the way is over by observation. Undefined: by what was read it should have been granted. */
  #refusal(request: AcquireRequest, row: Row): AcquireResult | 'over' | undefined {
    const { name } = request;
    const refusal = refusalOfRow(request, row, false);
    if (refusal?.reason !== 'held') return refusal;
    const ahead = this.#leaseAhead(name, row);
    if (ahead === undefined) return refusal;
    const isOver = this.#outlasted.isOver(name, `${ahead.owner} ${ahead.expiresAt}`, ahead.leaseMs);
    return isOver ? 'over' : { ...refusal, expiresInMs: ahead.leaseMs };
  }

  /** The lease in the way, if it ends later than a lease of its length can: its end was counted before the server's clock was set back. */
  #leaseAhead(name: string, row: Row): LeaseSeen | undefined {
    const seen = leaseSeen(row['record']);
    if (seen !== undefined && seen.expiresAt - Number(row['now']) > seen.leaseMs) return seen;
    this.#outlasted.forget(name);
    return undefined;
  }

  /** Free, but its row is locked: by a transaction that the last holder guarded, or by one that an operator has forgotten. */
  async #heldByRow(name: string, row: Row, signal: AbortSignal): Promise<AcquireResult> {
    this.#guarded.add(name);
    const detail = await unlessAborted(this.#rowLocked.explain(name), signal);
    return {
      acquired: false,
      reason: 'held',
      expiresInMs: GUARDED_PAUSE_MS,
      detail,
      record: parseRecord(row['record']),
    };
  }

  async renew({ name, owner }: Grant, signal: AbortSignal): Promise<boolean> {
    for (let tries = 1; ; tries += 1) {
      const ours = await this.#batches.renewing.ask({ name, owner }, signal);
      if (ours !== 'locked') return ours === 'yes';
      if (tries > RETRIES) {
        throw new Error((await this.#rowLocked.explain(name)) ?? 'other statements are at its row again and again');
      }
      await delay(BUSY_MS, signal);
    }
  }

  release(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const { name, owner } = grant;
    const error = outcome.result === 'failed' ? storable(outcome.error) : undefined;
    const ending = { name, owner, result: outcome.result, error, kept: this.#kept.has(grant) };
    return this.#questions.track(this.#batches.releasing.ask(ending, signal));
  }

  async untilFree({ name }: AcquireRequest, signal: AbortSignal): Promise<void> {
    this.#questions.checkOpen();
    checkStorable(name);
    if (this.#guarded.delete(name)) await delay(GUARDED_PAUSE_MS, signal);
    if (!signal.aborted) await this.#watch.until(name, this.#keys.of(name).lock, signal);
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
    const { pool } = this.#options;
    if (pool !== undefined) return examinePool(this.#schema, (statement) => this.#link.ask(statement), signal);
    return examine({ connection: this.#options, schema: this.#schema, behindPooler: '' }, signal);
  }

  close(): Promise<void> {
    return this.#questions.close(() => this.#link.close());
  }

  #checkVerb(name: string, signal: AbortSignal | undefined): void {
    this.#questions.checkOpen(signal);
    checkStorable(name);
  }
}

const isGrant = (row: Row): boolean => row['fence'] != null;

/**
 * Whether a statement that failed may have been committed: not if the server says why it was not, nor if it was never reached. A
 * connection that ended in between says nothing.
 */
function mayHaveRun(error: unknown): boolean {
  const state = sqlState(error);
  // connection_exception, and the shutdowns of a session, say nothing about the statement before.
  if (state !== '') return /^(?:08|57P)/.test(state);
  const { code = '' } = error as { code?: string };
  return !['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code);
}
