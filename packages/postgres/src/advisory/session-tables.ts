import { sqlState } from '../server/errors.ts';

/** The shortest time between two looks for tables that were missing, in ms. */
const LOOK_AGAIN_MS = 5_000;

/**
 * Whether a session has tables for its records. Nothing is remembered of them: they may be dropped, and rights on them revoked, at any
 * time, and made or granted again.
 */
export class SessionTables {
  readonly #prepare: () => Promise<boolean>;
  readonly #lost: AbortSignal;
  #areMissing: boolean;
  #looking: Promise<void> | undefined;
  #lookedAt = performance.now();

  /** @param prepare sees to the tables. False: there are none */
  constructor(prepare: () => Promise<boolean>, lost: AbortSignal, areMissing: boolean) {
    this.#prepare = prepare;
    this.#lost = lost;
    this.#areMissing = areMissing;
  }

  get areMissing(): boolean {
    return this.#areMissing;
  }

  /**
   * Looks for the tables again if there were none, at most every few seconds; undefined if that need not be.
   *
   * @param now there are tables: this session need only see them
   */
  lookAgain(now: boolean): Promise<void> | undefined {
    if (!this.#areMissing || this.#lost.aborted) return undefined;
    return now || performance.now() - this.#lookedAt > LOOK_AGAIN_MS ? this.#look() : undefined;
  }

  /**
   * Does the job, and once more after the tables have been made, if it failed for want of them.
   *
   * @param without what can be done where the tables are gone and cannot be made
   */
  async use<T>(job: (again: boolean) => Promise<T>, without?: () => Promise<T>): Promise<T> {
    try {
      return await job(false);
    } catch (error) {
      if (this.#lost.aborted || !isOfTables(error)) throw error;
      try {
        await this.#look();
      } catch (worse) {
        if (without === undefined || !areGone(error)) throw worse;
        return without();
      }
      return job(true);
    }
  }

  #look(): Promise<void> {
    this.#looking ??= this.#prepare()
      .then((ready) => {
        this.#areMissing = !ready;
      })
      .finally(() => {
        this.#lookedAt = performance.now();
        this.#looking = undefined;
      });
    return this.#looking;
  }
}

/** undefined_table, invalid_schema_name */
const GONE: readonly string[] = ['42P01', '3F000'];

function areGone(error: unknown): boolean {
  return GONE.includes(sqlState(error));
}

/** Besides, insufficient_privilege, read_only_sql_transaction. */
export function isOfTables(error: unknown): boolean {
  return [...GONE, '42501', '25006'].includes(sqlState(error));
}
