import { createBatch, type Batch } from '@solorun/core/server';
import type { Row, Statement } from '../server/client.ts';
import type { Key } from '../server/keys.ts';
import type { Locks } from '../server/locks.ts';
import type { Session } from '../server/session.ts';
import { inOrder, type Statements } from '../server/statements.ts';
import { BareLocks } from './bare-locks.ts';
import { Blocking } from './blocking.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Holding, Holdings } from './holdings.ts';
import { answersOf, lockStatements } from './lock-statements.ts';
import { MODE, type Confirmation, type Ending, type LockVerbs, type Query, type Taking, type Try } from './questions.ts';
import { letGo, RecordedLocks } from './recorded-locks.ts';
import { SessionTables } from './session-tables.ts';
import type { SettlesInMs } from './settling.ts';

export interface LockSessionTerms {
  readonly kind: string;
  readonly leaseMs: number | null;
  readonly statements: Statements;
  readonly locks: Locks;
  /** The locks of this process. */
  readonly holdings: Holdings;
  readonly schema: string;
  readonly channel: string;
  /** There are no tables of ours. */
  readonly bare: boolean;
  readonly settlesInMs: SettlesInMs;
  /** Sees to the tables. False: there are none. */
  readonly prepare: () => Promise<boolean>;
  /** How long the session is kept while it holds nothing and answers nothing, in ms. */
  readonly idleMs: number;
  /** Ends it. */
  readonly onIdle: () => void;
  /** Gives back a lock that nobody has renewed in time: the heartbeat keeps the session, and would keep the lock for ever. */
  readonly lapsed: (key: string) => void;
}

/** After a release that failed, the lock is given back this much later, in ms. */
const UNRELEASED_MS = 10_000;
/** A call without locks at stake, in ms. */
const CALL_MS = 5_000;
/** A call while locks without end are held, in ms. */
const PATIENCE_MS = 15_000;

/**
 * A session that holds locks, all with the same lease: the server ends it when it has not heard from us for that long, and with it
 * every lock on it. So one heartbeat keeps them all, however many they are.
 */
export class LockSession {
  readonly session: Session;
  readonly lost: AbortSignal;
  /** How its locks are called. */
  readonly locks: Locks;
  /** How long its server grants nothing yet. */
  readonly settlesInMs: SettlesInMs;
  /** Tries that need the session before they ask it anything: it is not let go meanwhile. */
  users = 0;
  readonly #terms: LockSessionTerms;
  readonly #lockStatement: ReturnType<typeof lockStatements>;
  readonly #bareLocks: BareLocks;
  readonly #recordedLocks: RecordedLocks;
  readonly #acquiring: Batch<Try, Row>;
  readonly #taking: Batch<Taking, string>;
  readonly #freeing: Batch<string, string>;
  readonly #confirming: Batch<Confirmation, boolean | 'unwritten'>;
  readonly #releasing: Batch<Ending, boolean>;
  readonly #tables: SessionTables;
  readonly #blocking: Blocking;
  readonly #heartbeat: Heartbeat;
  #listening: Promise<unknown> | undefined;

  constructor(session: Session, terms: LockSessionTerms) {
    const { statements, locks, schema, channel, leaseMs } = terms;
    this.session = session;
    this.lost = session.lost;
    this.locks = locks;
    this.settlesInMs = terms.settlesInMs;
    this.#terms = terms;
    this.#lockStatement = lockStatements(schema, locks);
    this.#bareLocks = new BareLocks(locks);
    this.#recordedLocks = new RecordedLocks(session, statements, locks, channel, this.#bareLocks);
    this.#acquiring = createBatch(this.#turn, (ask, tries) => this.#verbs.acquire(ask, tries));
    this.#taking = createBatch(this.#turn, (ask, keys) => this.#takeAll(ask, keys));
    this.#freeing = createBatch(this.#turn, (ask, keys) => answersOf(ask, 'solorun_free', this.#lockStatement.free, [keys]));
    this.#confirming = createBatch(this.#turn, (ask, confirmations) => this.#confirmAll(ask, confirmations));
    this.#releasing = createBatch(this.#turn, (ask, endings) => this.#releaseAll(ask, endings));
    this.#tables = new SessionTables(terms.prepare, session.lost, terms.bare);
    this.#blocking = new Blocking(session, locks, this.#lockStatement.wait, (statement) => this.query(statement));
    this.#heartbeat = new Heartbeat({
      ...{ kind: terms.kind, session, leaseMs, idleMs: terms.idleMs, onIdle: terms.onIdle },
      ask: (statement) => session.query(statement, this.#timeoutMs()),
      isBlocked: () => this.#blocking.isBlocked,
      isNeeded: () => this.#count > 0 || this.users > 0,
      onTick: (now) => this.#onTick(now),
    });
  }

  /** Bare locks, without tables of ours. It ends when the tables are found. */
  get isBare(): boolean {
    return this.#tables.areMissing;
  }

  /** The session was let go, holding nothing and asked for nothing: its end is no loss. */
  get isIdle(): boolean {
    return this.#heartbeat.isIdle;
  }

  /** False, and its end, if nothing was heard of it for longer than the server would have kept it. */
  usable(): boolean {
    const { leaseMs } = this.#terms;
    const { session } = this;
    if (
      leaseMs !== null &&
      !this.#blocking.isBlocked &&
      performance.now() - Math.max(session.answeredAt, session.sentAt) > leaseMs
    ) {
      session.destroy(new Error(`nothing was heard of the session for longer than its lease of ${leaseMs} ms`));
    }
    return !this.lost.aborted;
  }

  /** From now on the lock is held here, and lasts for the session's lease. */
  hold(key: string, holding?: Holding): void {
    this.#terms.holdings.hold(this, key, this.#leaseEnd(), holding);
  }

  holds(key: string): boolean {
    return this.#terms.holdings.isOn(this, key);
  }

  /** The lock is not held here any more. */
  drop(key: string): void {
    this.#terms.holdings.drop(this, key);
  }

  acquire(question: Try, signal: AbortSignal): Promise<Row> {
    return this.#tables.use((again) =>
      // The lock that was waited for was given back when its question failed.
      this.#acquiring.ask(again && question.mode === MODE.have ? { ...question, mode: MODE.try } : question, signal),
    );
  }

  /**
   * The lock and its fence alone. Undefined: another session holds it. `guarded`: a transaction is under way that its last holder
   * guarded, and this session does not hold the lock either. `paused`: the name is, and the lock is not held here either.
   *
   * @param got the session has the lock already
   */
  async take(key: Taking, got: boolean, signal: AbortSignal): Promise<bigint | 'guarded' | 'paused' | undefined> {
    const answer = await this.#tables.use(() => (got ? this.#keep(key) : this.#taking.ask(key, signal)));
    if (answer == null || answer === '') return undefined;
    return answer === 'guarded' || answer === 'paused' ? answer : BigInt(answer);
  }

  /** Gives the lock alone back. False: the session did not hold it. */
  async free(key: string, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#freeing.ask(key, signal)) === 'true';
    } catch (error) {
      this.#lapseSoon(key);
      throw error;
    }
  }

  /** Whether the lease is still that owner's. `unwritten`: it is, and its row is gone, as when the schema was dropped. */
  async confirm(confirmation: Confirmation, key: string, signal: AbortSignal): Promise<boolean | 'unwritten'> {
    const ours = await this.#confirming.ask(confirmation, signal);
    if (ours !== false) this.#terms.holdings.extend(this, key, this.#leaseEnd());
    return ours;
  }

  async release(ending: Ending, signal: AbortSignal): Promise<boolean> {
    const { key } = ending;
    // Where nothing can be recorded, the lock is given back all the same.
    const bare = key === undefined ? undefined : async (): Promise<boolean> => (await this.#freeing.ask(key, signal)) === 'true';
    try {
      return await this.#tables.use(() => this.#releasing.ask(ending, signal), bare);
    } catch (error) {
      this.#lapseSoon(key);
      throw error;
    }
  }

  query(statement: Statement): Promise<readonly Row[]> {
    this.#heartbeat.used();
    return this.session.query(statement, this.#timeoutMs());
  }

  /** A question about the tables: where one is missing, they are looked for (and made), and it is asked once more. */
  queryTables(statement: Statement): Promise<readonly Row[]> {
    return this.#tables.use(() => this.query(statement));
  }

  /**
   * Waits in the server's queue for a slice of time. `mine`: the session holds the lock. `guarded`: that too, but a transaction that the
   * last holder guarded may be under way. Undefined: not yet.
   */
  block(key: Key, sliceMs: number): Promise<'mine' | 'guarded' | undefined> {
    return this.#blocking.block(key, sliceMs);
  }

  /** Waits for a moment until no guarded transaction of the last holder is under way. False: one still is. */
  blockOnGuard(guard: string): Promise<boolean> {
    return this.#blocking.blockOnGuard(guard);
  }

  /** Starts to listen, once. */
  async listen(): Promise<void> {
    this.#listening ??= this.query({ text: `LISTEN ${this.#terms.channel}` }).catch((error: unknown) => {
      this.#listening = undefined;
      throw error;
    });
    await this.#listening;
  }

  /**
   * Looks for the tables again if there were none, at most every few seconds; undefined if that need not be.
   *
   * @param now there are tables: this session need only see them
   */
  lookAgain(now: boolean): Promise<void> | undefined {
    return this.#blocking.isBlocked ? undefined : this.#tables.lookAgain(now);
  }

  get #verbs(): LockVerbs {
    return this.isBare ? this.#bareLocks : this.#recordedLocks;
  }

  /** How many locks it holds. */
  get #count(): number {
    return this.#terms.holdings.countOn(this);
  }

  #leaseEnd(): number {
    return performance.now() + (this.#terms.leaseMs ?? Number.POSITIVE_INFINITY);
  }

  /** After a release that failed nobody asks again, and the heartbeat would keep the lock. */
  #lapseSoon(key: string | undefined): void {
    if (key !== undefined) this.#terms.holdings.shorten(this, key, performance.now() + UNRELEASED_MS);
  }

  /**
   * How long an answer may take before the session is given up. With locks on it, as long as they would last: ending the session
   * ends them all.
   */
  #timeoutMs(): number {
    const { leaseMs } = this.#terms;
    if (this.#count > 0) return leaseMs ?? PATIENCE_MS;
    return Math.min(CALL_MS, leaseMs ?? CALL_MS);
  }

  readonly #turn = (job: (query: Query) => Promise<void>): Promise<void> => {
    this.#heartbeat.used();
    return this.session.inLine((send) => job((statement) => send(statement, this.#timeoutMs())));
  };

  #onTick(now: number): void {
    for (const key of this.#terms.holdings.lapsed(this, now)) this.#terms.lapsed(key);
    // The next try reports what is still missing.
    this.lookAgain(false)?.catch(() => {});
  }

  async #takeAll(ask: Query, keys: readonly Taking[]): Promise<readonly string[]> {
    const tried = keys.map(({ lock }) => lock);
    try {
      const [guards, names] = [keys.map(({ guard }) => guard), keys.map(({ name }) => name)];
      return await answersOf(ask, 'solorun_take', this.#lockStatement.take, [tried, guards, names]);
    } catch (error) {
      if (!this.lost.aborted) await letGo(this.session, this.locks, ask, tried);
      throw error;
    }
  }

  /** The fence of a lock that this session has already. */
  async #keep({ lock, guard, name }: Taking): Promise<string | null | undefined> {
    const [row] = await this.query({ name: 'solorun_keep', text: this.#lockStatement.keep, values: [lock, guard, name] });
    return row?.['answers'];
  }

  async #confirmAll(ask: Query, confirmations: readonly Confirmation[]): Promise<readonly (boolean | 'unwritten')[]> {
    const rows = await this.#verbs.confirm(ask, confirmations);
    this.#heartbeat.checkBackend(rows[0]);
    const answers = inOrder(rows, confirmations.length);
    return answers.map(({ ours, gone }) => (gone === 'true' ? 'unwritten' : ours === 'true'));
  }

  async #releaseAll(ask: Query, endings: readonly Ending[]): Promise<readonly boolean[]> {
    const answers = inOrder(await this.#verbs.release(ask, endings), endings.length);
    // The lock was ours all the same where an operator has deleted its row.
    return answers.map(({ ours, freed }) => ours === 'true' || freed === 'true');
  }
}
