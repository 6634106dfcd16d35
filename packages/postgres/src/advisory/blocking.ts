import type { Row, Statement } from '../server/client.ts';
import { sqlState } from '../server/errors.ts';
import type { Key } from '../server/keys.ts';
import type { Locks } from '../server/locks.ts';
import type { Session } from '../server/session.ts';

/** The answer to the end of a slice may take this long, in ms. */
const CALL_MS = 5_000;
/** A wait for guarded transactions holds the lock itself, so it lasts no longer than a paused waiter may be missed, in ms. */
const GUARD_SLICE_MS = 1_000;
const UNGUARDED = `SELECT pg_advisory_xact_lock($1::bigint)::text
  FROM (SELECT set_config('lock_timeout', '${GUARD_SLICE_MS}', true) AS slice OFFSET 0) AS s WHERE s.slice IS NOT NULL`;

/** A session that stands in the server's own queue for a lock, for slices of time. */
export class Blocking {
  readonly #session: Session;
  readonly #locks: Locks;
  /** Waits for the lock. */
  readonly #waitSql: string;
  readonly #query: (statement: Statement) => Promise<readonly Row[]>;
  #isBlocked = false;

  constructor(session: Session, locks: Locks, waitSql: string, query: (statement: Statement) => Promise<readonly Row[]>) {
    this.#session = session;
    this.#locks = locks;
    this.#waitSql = waitSql;
    this.#query = query;
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /**
   * Waits for a slice of time. `mine`: the session holds the lock. `guarded`: that too, but a transaction that the last holder guarded
   * may be under way. Undefined: not yet.
   */
  block(key: Key, sliceMs: number): Promise<'mine' | 'guarded' | undefined> {
    return this.#slice(
      { name: 'solorun_wait', text: this.#waitSql, values: [key.lock, key.guard] },
      sliceMs,
      ([row]) => (row?.['clear'] === 'true' ? 'mine' : 'guarded'),
      async () => ((await this.#isMine(key.lock)) ? 'guarded' : undefined),
    );
  }

  /** Waits for a moment until no guarded transaction of the last holder is under way. False: one still is. */
  blockOnGuard(guard: string): Promise<boolean> {
    const statement = { name: 'solorun_unguarded', text: UNGUARDED, values: [guard] };
    return this.#slice(
      statement,
      GUARD_SLICE_MS,
      () => true,
      async () => false,
    );
  }

  async #slice<T>(statement: Statement, sliceMs: number, done: (rows: readonly Row[]) => T, over: () => Promise<T>): Promise<T> {
    this.#isBlocked = true;
    try {
      return done(await this.#session.query(statement, sliceMs + CALL_MS));
    } catch (error) {
      if (!isEndOfSlice(error)) throw error;
      return await over();
    } finally {
      this.#isBlocked = false;
    }
  }

  /** The end of a slice may strike just after the lock was granted, and an error does not give a session lock back. */
  async #isMine(lock: string): Promise<boolean> {
    const text = `SELECT ${this.#locks.held('$1::bigint', 'pg_backend_pid()')}::text AS mine`;
    const [row] = await this.#query({ name: 'solorun_mine', text, values: [lock] });
    return row?.['mine'] === 'true';
  }
}

/** lock_not_available: the slice is over. query_canceled: an operator ended it. */
function isEndOfSlice(error: unknown): boolean {
  return ['55P03', '57014'].includes(sqlState(error));
}
