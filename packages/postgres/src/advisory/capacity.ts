import type { LockSession } from './session.ts';

/** After each so many locks more, the server's lock table is looked at. */
const LOOK_EVERY = 250;
/** Postgres gives the lock table room for about twice its nominal size; this much of the nominal size is left to locks like ours. */
const FILL = 1.6;
/** Beside the lock that is tried for, the one of guarded transactions, for a moment. */
const PER_TRY = 2;

/** Keeps room in the server's lock table, which all its clients share: when it is full, nobody can connect or read. */
export class Capacity {
  readonly #maxLocks: number;
  #lookAgainAt = LOOK_EVERY;

  constructor(maxLocks: number) {
    this.#maxLocks = maxLocks;
  }

  /**
   * There must be room for the locks held here and for those that are being tried for, the one that asks included. True: it is time
   * to look at the server's table too.
   *
   * @throws Error
   */
  look(held: number, trying: number): boolean {
    const count = held + trying;
    if (count > this.#maxLocks) {
      throw new Error(
        `this process holds ${held} locks already, and maxLocks is ${this.#maxLocks}: the lock table of the server is ` +
          'shared by all its clients. Raise maxLocks, and max_locks_per_transaction with it, or use postgresLease',
      );
    }
    if (count < this.#lookAgainAt) {
      this.#lookAgainAt = Math.min(this.#lookAgainAt, count + LOOK_EVERY);
      return false;
    }
    this.#lookAgainAt = count + LOOK_EVERY;
    return true;
  }

  /** @throws Error when the server's table is nearly full */
  async check(on: LockSession, trying: number): Promise<void> {
    const [row] = await on.query({ name: 'solorun_room', text: ROOM });
    if (Number(row?.['used']) + PER_TRY * trying <= Number(row?.['size']) * FILL) return;
    // The next try looks too.
    this.#lookAgainAt = 0;
    throw new Error(
      `the lock table of the server is nearly full (${row?.['used']} locks; it is made for ${row?.['size']}): beyond that it ` +
        'would refuse connections and reads. Raise max_locks_per_transaction, hold fewer locks, or use postgresLease',
    );
  }
}

/** Locks on the server, and how many its lock table is made for. */
const ROOM = `SELECT (SELECT count(*) FROM pg_locks)::text AS used,
  (current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint))::text AS size`;
