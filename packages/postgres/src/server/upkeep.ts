import { quote, UnsupportedError, type ForgetTerms, type JobRecord, type NamedPause, type OccurrenceState } from '@solorun/core';
import type { Pause, PauseTerms, RunRecord } from '@solorun/core';
import { createBatch, delay, MOST_RUNS, oneAtATime, unlessAborted, type Batch } from '@solorun/core/server';
import type { Row, Statement } from './client.ts';
import { sqlState } from './errors.ts';
import { occurrenceOf, parsePause, parseRecord, parseRun } from './records.ts';
import type { RowLocked } from './row-locked.ts';
import { inOrder, questions, type Statements } from './statements.ts';

export interface UpkeepTerms {
  readonly kind: string;
  readonly statements: Statements;
  /** One statement on the tables. Rejects where there are none. */
  readonly ask: (statement: Statement) => Promise<readonly Row[]>;
  readonly rowLocked: RowLocked;
}

interface Forgetting extends ForgetTerms {
  readonly name: string;
}

/** A row that another transaction has locked is tried for so often, */
const TRIES = 10;
/** so far apart, in ms. */
const BUSY_MS = 20;

/** Reads and changes the records of jobs for people, beside the runs: the same for both kinds of locks. */
export class Upkeep {
  readonly #kind: string;
  readonly #statements: Statements;
  readonly #ask: UpkeepTerms['ask'];
  readonly #rowLocked: RowLocked;
  readonly #forgetting: Batch<Forgetting, boolean>;

  constructor({ kind, statements, ask, rowLocked }: UpkeepTerms) {
    this.#kind = kind;
    this.#statements = statements;
    this.#ask = ask;
    this.#rowLocked = rowLocked;
    this.#forgetting = createBatch(oneAtATime(undefined), (_, asked) => this.#forgetAll(asked));
  }

  async inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    const [row] = await this.#answer('inspect', [name], signal);
    return parseRecord(row?.['record']);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<JobRecord> {
    for await (const { record } of this.#pages('list', prefix, signal)) {
      const parsed = parseRecord(record);
      if (parsed !== undefined) yield parsed;
    }
  }

  async pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    const { by, note } = terms;
    const [until, forMs] = 'until' in terms ? [terms.until.getTime(), undefined] : [undefined, terms.forMs];
    const [row] = await this.#answer('pause', [name, until, forMs, storable(by), note && storable(note)], signal);
    return parsePause(row!['pause'])!;
  }

  async resume(name: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#answer('resume', [name], signal)).length > 0;
  }

  async *pauses(prefix: string, signal?: AbortSignal): AsyncGenerator<NamedPause> {
    for await (const { name, pause } of this.#pages('pauses', prefix, signal)) yield { name: name!, ...parsePause(pause)! };
  }

  async runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    const rows = await this.#answer('runs', [name, Math.min(limit, MOST_RUNS)], signal);
    return rows.map(({ run }) => parseRun(run!));
  }

  async reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    for (let tries = 1; ; tries += 1) {
      const [row] = await this.#answer('reopen', [name], signal);
      if (row?.['locked'] !== 'true')
        return row?.['at'] == null ? undefined : occurrenceOf(+row['at'], 'reopened', +row['attempt']!);
      if (tries === TRIES) throw await this.#lockedError(name);
      await delay(BUSY_MS, signal);
    }
  }

  async forget(name: string, { untouchedForMs }: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    return unlessAborted(this.#forgetting.ask({ name, untouchedForMs }, signal), signal);
  }

  async #forgetAll(asked: readonly Forgetting[]): Promise<readonly boolean[]> {
    const asks = asked.map(({ name, untouchedForMs }) => ({ name, ms: untouchedForMs }));
    try {
      const rows = await this.#ask({ name: 'solorun_forget', text: this.#statements.forget, values: [questions(asks)] });
      return inOrder(rows, asked.length).map(({ gone }) => gone === 'true');
    } catch (error) {
      // insufficient_privilege
      if (sqlState(error) !== '42501') throw error;
      const remedy = `Grant it: GRANT DELETE ON ALL TABLES IN SCHEMA … TO …, or set retainMs to Infinity`;
      throw new UnsupportedError(`${this.#kind}: this role may not forget records, for want of DELETE on the tables. ${remedy}.`);
    }
  }

  async #lockedError(name: string): Promise<Error> {
    const why = (await this.#rowLocked.explain(name)) ?? 'other statements are at its row again and again';
    return new Error(`the last occurrence of ${quote(name)} cannot be opened again: ${why}`);
  }

  async #answer(verb: keyof Statements, values: unknown[], signal: AbortSignal | undefined): Promise<readonly Row[]> {
    signal?.throwIfAborted();
    return unlessAborted(this.#ask({ name: `solorun_${verb}`, text: this.#statements[verb], values }), signal);
  }

  /** Rows with a name, page after page. */
  async *#pages(verb: keyof Statements, prefix: string, signal: AbortSignal | undefined): AsyncGenerator<Row> {
    for (let after = ''; ;) {
      const rows = await this.#answer(verb, [prefix, after], signal);
      yield* rows;
      const last = rows.at(-1)?.['name'];
      if (last == null) return;
      after = last;
    }
  }
}

/** Without the one character that Postgres cannot keep in a text. */
export function storable(text: string): string {
  return text.replaceAll('\0', '');
}
