import { UnsupportedError } from '@solorun/core';
import type { Row, Statement } from '../server/client.ts';
import { readOnlyError, sqlState, standbyError } from '../server/errors.ts';
import { prepareSchema, schemaRemedy, unusableNow } from '../server/prepare.ts';
import type { Link } from './link.ts';

/** undefined_table, invalid_schema_name: dropped, or another database than before. */
const GONE: readonly string[] = ['42P01', '3F000'];
/** Besides, insufficient_privilege, read_only_sql_transaction, serialization_failure: what was true of the tables no longer is. */
const LOOK_AGAIN: readonly string[] = [...GONE, '42501', '25006', '40001'];
/** Of a statement that lost a race. */
const RETRIES = 3;

/** Statements on tables that may be missing at first, and may be dropped and made anew at any time. */
export class Tables {
  readonly #kind: string;
  readonly #schema: string;
  readonly #link: Link;
  #preparing: Promise<void> | undefined;
  #areReady = false;
  /** There were tables once. */
  #existed = false;
  #highest = 0n;
  #floor: string | undefined;

  constructor(kind: string, schema: string, link: Link) {
    this.#kind = kind;
    this.#schema = schema;
    this.#link = link;
  }

  /** Rows that are made anew begin above this fence: the schema was dropped since it was granted. Undefined: it never was. */
  get floor(): string | undefined {
    return this.#floor;
  }

  granted(fence: bigint): void {
    if (fence > this.#highest) this.#highest = fence;
  }

  /**
   * One statement, again if it lost a race that Postgres breaks off rather than decides.
   *
   * @param asked or what composes it, anew for each time
   */
  async ask(asked: Statement | (() => Statement)): Promise<readonly Row[]> {
    let prepared = this.#areReady ? 0 : 1;
    for (let tries = 1; ; tries += 1) {
      if (!this.#areReady) await this.#prepare();
      try {
        return await this.#link.ask(typeof asked === 'function' ? asked() : asked);
      } catch (error) {
        const state = sqlState(error);
        if (GONE.includes(state)) this.#floor = String(this.#highest);
        if (LOOK_AGAIN.includes(state)) {
          [this.#preparing, this.#areReady] = [undefined, false];
          // Either the caller learns what is true now, or the tables are made anew and the statement runs once more.
          if ((prepared += 1) === 1) continue;
        }
        // deadlock_detected
        if (state !== '40P01' || tries > RETRIES) throw error;
      }
    }
  }

  /** The schema is looked after once, before the first question. */
  async #prepare(): Promise<void> {
    this.#preparing ??= this.#makeReady();
    try {
      await this.#preparing;
      [this.#areReady, this.#existed] = [true, true];
    } catch (error) {
      this.#preparing = undefined;
      throw error;
    }
  }

  async #makeReady(): Promise<void> {
    const kind = this.#kind;
    const state = await prepareSchema((statement) => this.#link.ask(statement), this.#schema, 'lease');
    if (state === 'standby') throw this.#link.onStandby(standbyError(kind));
    if (state === 'read-only') throw readOnlyError(kind);
    if (state !== 'ready') throw this.#existed ? unusableNow(kind, state.missing) : schemaRemedy(kind, state.missing);
    const [row] = await this.#link.ask({ text: "SELECT current_setting('default_transaction_isolation') AS isolation" });
    if (row?.['isolation'] === 'read committed') return;
    throw new UnsupportedError(
      `${kind}: its connections begin transactions as ${row?.['isolation']}, which breaks off statements that meet at a name. ` +
        "Give it a connectionString of the server itself, or connections with default_transaction_isolation = 'read committed'.",
    );
  }
}
