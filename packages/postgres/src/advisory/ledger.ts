import { messageOf } from '@solorun/core';
import { wishesOf } from '../server/statements.ts';
import type { Holding } from './holdings.ts';

/** The ledger writes a note this much later, in ms: many short runs of a name cost one statement, and none of them waits behind it. */
export const LAG_MS = 20;
/** Until the next try of rows that another session has locked, in ms. */
const BUSY_MS = 200;
/** Between tries of what cannot be written, in ms. */
const TROUBLE_MS = 1_000;
/** A connection that was lost is no news of the ledger's; what goes on for so many tries is. */
const FAILURES_REPORTED = 3;
/** Not more often than this, in ms. */
const REPORTED_EVERY_MS = 60_000;
/** In one statement. */
const MOST = 500;
/** While nothing can be written, the oldest are forgotten. */
const KEPT = 20_000;

/** The news of a name that is to be written. */
interface Page {
  /** The newest acquisition. */
  newest: Holding;
  /** The newest that ended with a result. */
  last: Holding | undefined;
}

/**
 * Writes down who holds which session lock and how the runs went. The lock alone keeps others out, so nobody waits for that: it is
 * written a moment later, many at once, and what has changed again by then is written once.
 */
export class Ledger {
  readonly #write: (rows: readonly object[]) => Promise<readonly number[]>;
  readonly #onTrouble: (message: string) => void;
  #noted: Holding[] = [];
  #writing: Promise<void> | undefined;
  #hurry: () => void = () => {};
  #failures = 0;
  /** Other sessions have locked rows that are still to be written. */
  #isBusy = false;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** @param write answers which of the rows, by their places, are still to be written */
  constructor(write: (rows: readonly object[]) => Promise<readonly number[]>, onTrouble: (message: string) => void) {
    this.#write = write;
    this.#onTrouble = onTrouble;
  }

  /** It has just begun, or ended. */
  note(holding: Holding): void {
    this.#noted.push(holding);
    if (this.#isClosed) return;
    this.#writing ??= this.#later();
    // Others have seen that it is held, and some may wait for a notification of its end; together with what else ends in this turn.
    if (holding.ended !== undefined && holding.written && this.#failures === 0) setImmediate(this.#hurry);
  }

  /** Resolves when all that was noted by now has been written, or at once while nothing can be. */
  async written(): Promise<void> {
    // A write that is under way may have begun before the last note.
    for (const _ of ['now', 'next']) {
      // It would take long, and may never be.
      if (this.#failures > 0) return;
      this.#hurry();
      await this.#writing;
    }
  }

  /** Writes what is left, if it can be done by then, and nothing afterwards. */
  async close(limit: Promise<unknown>): Promise<void> {
    await Promise.race([this.#emptied(), limit]);
    this.#isClosed = true;
  }

  async #later(): Promise<void> {
    await this.#pause();
    const pages = [...pagesOf(this.#noted).values()];
    this.#noted = [];
    for (let at = 0; at < pages.length; at += MOST) await this.#writePages(pages.slice(at, at + MOST));
    this.#writing = this.#noted.length > 0 && !this.#isClosed ? this.#later() : undefined;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#failures > 0 ? TROUBLE_MS : this.#isBusy ? BUSY_MS : LAG_MS);
      // Trouble with the record does not keep a process that has nothing else to do.
      if (this.#failures > 0) timer.unref();
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #writePages(pages: readonly Page[]): Promise<void> {
    let left = pages;
    try {
      const undone = await this.#write(pages.map((page) => rowOf(page, performance.now())));
      left = undone.map((index) => pages[index]!);
      for (const page of pages) if (!left.includes(page)) page.newest.written = true;
      this.#failures = 0;
    } catch (error) {
      if (isOfOneRow(error) && pages.length > 1) {
        for (const page of pages) await this.#writePages([page]);
        return;
      }
      this.#failures += 1;
      if (isOfOneRow(error)) left = [];
      if (this.#failures === FAILURES_REPORTED || left.length === 0) this.#report(error);
    }
    this.#isBusy = left.length > 0;
    // Before what was noted meanwhile.
    const again = left.flatMap(({ newest, last }) => (last === undefined || last === newest ? [newest] : [last, newest]));
    if (again.length > 0) this.#noted = [...again, ...this.#noted].slice(-KEPT);
  }

  #report(error: unknown): void {
    if (performance.now() < this.#reportedAt + REPORTED_EVERY_MS) return;
    this.#reportedAt = performance.now();
    try {
      this.#onTrouble(messageOf(error));
    } catch (thrown) {
      process.emitWarning(`onWarning failed: ${String(thrown)}`, 'SolorunWarning');
    }
  }

  /** Does not wait for rows that cannot be written now. */
  async #emptied(): Promise<void> {
    if (this.#writing === undefined || this.#failures > 0) return;
    this.#hurry();
    await this.#writing;
    await this.#emptied();
  }
}

function pagesOf(noted: readonly Holding[]): Map<string, Page> {
  const pages = new Map<string, Page>();
  for (const holding of noted) {
    const { name } = holding.request;
    const page = pages.get(name);
    const { ended } = holding;
    const last = ended !== undefined && ended.outcome.result !== 'abandoned' ? holding : undefined;
    if (page === undefined) {
      pages.set(name, { newest: holding, last });
      continue;
    }
    if (holding.fence > page.newest.fence) page.newest = holding;
    if (last !== undefined && last.fence >= (page.last?.fence ?? 0n)) page.last = last;
  }
  return pages;
}

function rowOf({ newest, last }: Page, now: number): object {
  const { request, key, fence, on, since } = newest;
  const { name, owner, holder, leaseMs } = request;
  const outcome = last?.ended?.outcome;
  const by = last?.request.holder;
  // Noted only when the row that claimed it is gone: it is claimed again.
  const occurrence = newest.ended?.outcome.result === 'abandoned' ? undefined : request.occurrence;
  return {
    ...{ name, key: key.lock, fence: String(fence), owner, host: holder.host, pid: holder.pid, label: holder.label },
    ...{ backend: on.session.pid, lease: leaseMs, held: newest.ended === undefined, age: now - since },
    ...{ result: outcome?.result, error: outcome?.result === 'failed' ? outcome.error : undefined },
    ...(occurrence && { ...wishesOf({ ...request, occurrence }), attempt: newest.attempt }),
    ...(request.history === true && { history: true }),
    ...(last?.ended && { duration: last.ended.at - last.since, ended: now - last.ended.at, run_age: now - last.since }),
    ...(last && by && { run_fence: String(last.fence), run_host: by.host, run_pid: by.pid, run_label: by.label }),
  };
}

/** data_exception, integrity_constraint_violation: a row that will never be written, and the others should not suffer for it. */
function isOfOneRow(error: unknown): boolean {
  return /^2[23]/.test((error as { code?: string }).code ?? '');
}
