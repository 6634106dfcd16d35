import type { Row, Statement } from '../server/client.ts';
import { schemaRemedy } from '../server/prepare.ts';
import { questions, type Statements } from '../server/statements.ts';
import { Ledger } from './ledger.ts';
import type { Opening } from './opening.ts';
import type { Sessions } from './sessions.ts';

export interface JobRecordsTerms {
  readonly kind: string;
  readonly statements: Statements;
  /** Writes down who holds session locks: see `recordLocksSql`. */
  readonly recordLocks: string;
  readonly channel: string;
  readonly sessions: Sessions;
  readonly opening: Opening;
  readonly onTrouble: (message: string) => void;
}

/** Reads and writes the tables, on any session that has them. */
export class JobRecords {
  readonly ledger: Ledger;
  readonly #terms: JobRecordsTerms;

  constructor(terms: JobRecordsTerms) {
    this.#terms = terms;
    this.ledger = new Ledger((rows) => this.#write(rows), terms.onTrouble);
  }

  /** Why there are no records. */
  withoutTables(): Error {
    const { kind, opening } = this.#terms;
    return schemaRemedy(kind, opening.missing ?? 'the session began before the tables were there');
  }

  /** One statement on the tables, after all that happened here has been written. */
  async ask(statement: Statement): Promise<readonly Row[]> {
    const { sessions } = this.#terms;
    const on = await sessions.any();
    await on.lookAgain(true);
    if (on.isBare) throw this.withoutTables();
    await this.ledger.written();
    return on.queryTables(statement);
  }

  /** Which of the names are worth a try, and leaves word that a waiter here listens for the others. */
  async look(names: readonly { readonly name: string; readonly key: string }[]): Promise<readonly string[]> {
    const { sessions, statements } = this.#terms;
    const on = await sessions.any();
    if (on.isBare) return names.map(({ name }) => name);
    await on.listen();
    const rows = await on.queryTables({ name: 'solorun_watch', text: statements.watch, values: [JSON.stringify(names)] });
    return rows.map(({ name }) => name!);
  }

  async #write(rows: readonly object[]): Promise<readonly number[]> {
    const { sessions, opening, channel, recordLocks } = this.#terms;
    const on = await sessions.any();
    // Of sessions without tables nothing is noted: it is the turn of another one, or this one sees now what that one has seen.
    await on.lookAgain(true);
    if (on.isBare) throw new Error(opening.missing ?? 'this session began before the tables were there');
    const left = await on.queryTables({ name: 'solorun_record', text: recordLocks, values: [questions(rows), channel] });
    return left.map(({ ord }) => Number(ord));
  }
}
