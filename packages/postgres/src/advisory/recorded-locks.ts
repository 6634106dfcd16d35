import { Failure } from '@solorun/core/server';
import type { Row } from '../server/client.ts';
import type { Locks } from '../server/locks.ts';
import type { Session } from '../server/session.ts';
import { inOrder, questions, type Statements } from '../server/statements.ts';
import type { BareLocks } from './bare-locks.ts';
import { arrayOf } from './lock-statements.ts';
import { MODE, type Confirmation, type Ending, type LockVerbs, type Query, type Try } from './questions.ts';
import { isOfTables } from './session-tables.ts';

/** Session locks with their records: lease and claim in one statement. */
export class RecordedLocks implements LockVerbs {
  readonly #session: Session;
  readonly #statements: Statements;
  readonly #locks: Locks;
  readonly #channel: string;
  readonly #bare: BareLocks;

  constructor(session: Session, statements: Statements, locks: Locks, channel: string, bare: BareLocks) {
    this.#session = session;
    this.#statements = statements;
    this.#locks = locks;
    this.#channel = channel;
    this.#bare = bare;
  }

  async acquire(ask: Query, tries: readonly Try[]): Promise<readonly (Row | Failure)[]> {
    try {
      const values = [questions(tries), tries.every(({ at_ms }) => at_ms === undefined)];
      const rows = await ask({ name: 'solorun_acquire', text: this.#statements.acquire, values });
      return inOrder(rows, tries.length);
    } catch (error) {
      if (this.#session.lost.aborted) throw error;
      const tried = tries.filter(({ mode }) => mode !== MODE.look).map(({ key }) => key);
      await letGo(this.#session, this.#locks, ask, tried);
      if (tries.length === 1 || this.#session.lost.aborted) throw error;
      return this.#acquireAlone(ask, tries);
    }
  }

  /** One of them is at fault, and the others should not suffer for it. */
  async #acquireAlone(ask: Query, tries: readonly Try[]): Promise<readonly (Row | Failure)[]> {
    const alone: (Row | Failure)[] = [];
    for (const one of tries) {
      const again = { ...one, mode: one.mode === MODE.have ? MODE.try : one.mode };
      try {
        const [row] = await this.acquire(ask, [again]);
        alone.push(row!);
      } catch (error) {
        alone.push(new Failure(error));
      }
    }
    return alone;
  }

  async confirm(ask: Query, confirmations: readonly Confirmation[]): Promise<readonly Row[]> {
    try {
      return await ask({ name: 'solorun_confirm', text: this.#statements.renew, values: [questions(confirmations)] });
    } catch (error) {
      // The session has its locks whatever becomes of the tables.
      if (!isOfTables(error)) throw error;
      return this.#bare.confirm(ask, confirmations);
    }
  }

  release(ask: Query, endings: readonly Ending[]): Promise<readonly Row[]> {
    const values = [questions(endings), !endings.some(({ durable }) => durable), this.#channel];
    return ask({ name: 'solorun_release', text: this.#statements.release, values });
  }
}

/** Gives back what a statement may have taken before it failed: session locks survive that. */
export async function letGo(session: Session, locks: Locks, ask: Query, tried: readonly string[]): Promise<void> {
  const text = `SELECT ${locks.call('pg_advisory_unlock', 'a.key')} FROM unnest($1::bigint[]) AS a(key)`;
  await ask({ text, values: [arrayOf(tried)] }).catch((worse: unknown) => session.destroy(worse as Error));
}
