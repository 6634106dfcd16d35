import type { Holding } from './holding.ts';

/**
 * Writes down who holds which session lock and how the runs went. The lock alone keeps others out, so nobody waits for that: it is
 * written a moment later, many at once, and what has changed again by then is written once.
 */
export interface Ledger {
  /** It has just begun, or ended. */
  note(holding: Holding): void;
  /** Resolves when all that was noted by now has been written, or at once while nothing can be. */
  written(): Promise<void>;
  /** Writes what is left, if it can be done by then, and nothing afterwards. */
  close(limit: Promise<unknown>): Promise<void>;
}

/** What was noted is written this much later, in ms: many short runs of a name cost one statement, and none of them waits behind it. */
export const LAG_MS = 20;
/** Until the next try of rows that somebody else has locked, in ms. */
const BUSY_MS = 200;
/** Between tries of what cannot be written, in ms. */
const TROUBLE_MS = 1_000;
/** A connection that was lost is no news of the ledger's; what goes on for so many tries is. */
const FAILURES_TOLD = 3;
/** Not more often than this, in ms. */
const TOLD_EVERY_MS = 60_000;
/** In one statement. */
const MOST = 500;
/** While nothing can be written, the oldest are forgotten. */
const KEPT = 20_000;

/** What is to be written of a name. */
interface Page {
  /** The newest acquisition. */
  newest: Holding;
  /** The newest that ended with a result. */
  last: Holding | undefined;
}

/** @param write tells which of the rows, by their places, are still to be written */
export function createLedger(
  write: (rows: readonly object[]) => Promise<readonly number[]>,
  onTrouble: (message: string) => void,
): Ledger {
  let noted: Holding[] = [];
  let writing: Promise<void> | undefined;
  let hurry: () => void = () => {};
  let failures = 0;
  let busy = false;
  let toldAt = Number.NEGATIVE_INFINITY;
  let closed = false;

  async function later(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, failures > 0 ? TROUBLE_MS : busy ? BUSY_MS : LAG_MS);
      // What cannot be written does not keep a process that has nothing else to do.
      if (failures > 0) timer.unref();
      hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    const pages = [...pagesOf(noted).values()];
    noted = [];
    for (let at = 0; at < pages.length; at += MOST) await writePages(pages.slice(at, at + MOST));
    writing = noted.length > 0 && !closed ? later() : undefined;
  }

  async function writePages(pages: readonly Page[]): Promise<void> {
    let left = pages;
    try {
      const undone = await write(pages.map((page) => rowOf(page, performance.now())));
      left = undone.map((index) => pages[index]!);
      for (const page of pages) if (!left.includes(page)) page.newest.written = true;
      failures = 0;
    } catch (error) {
      if (isOfOneRow(error) && pages.length > 1) {
        for (const page of pages) await writePages([page]);
        return;
      }
      failures += 1;
      if (isOfOneRow(error)) left = [];
      if (failures === FAILURES_TOLD || left.length === 0) tell(error);
    }
    busy = left.length > 0;
    // Before what was noted meanwhile.
    const again = left.flatMap(({ newest, last }) => (last === undefined || last === newest ? [newest] : [last, newest]));
    if (again.length > 0) noted = [...again, ...noted].slice(-KEPT);
  }

  function tell(error: unknown): void {
    if (performance.now() < toldAt + TOLD_EVERY_MS) return;
    toldAt = performance.now();
    try {
      onTrouble(error instanceof Error ? error.message : String(error));
    } catch (thrown) {
      process.emitWarning(`onWarning failed: ${String(thrown)}`, 'SolorunWarning');
    }
  }

  /** What cannot be written now is not waited for. */
  async function emptied(): Promise<void> {
    if (writing === undefined || failures > 0) return;
    hurry();
    await writing;
    await emptied();
  }

  return {
    note(holding) {
      noted.push(holding);
      if (closed) return;
      writing ??= later();
      // Others have seen that it is held, and some may wait to be told of its end; together with what else ends in this turn.
      if (holding.ended !== undefined && holding.written && failures === 0) setImmediate(hurry);
    },
    async written() {
      // What is being written at this moment may have begun before the last note.
      for (const _ of ['now', 'next']) {
        // It would take long, and may never be.
        if (failures > 0) return;
        hurry();
        await writing;
      }
    },
    async close(limit) {
      await Promise.race([emptied(), limit]);
      closed = true;
    },
  };
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
  // Noted only when the row that claimed it is gone: it is claimed again.
  const occurrence = newest.ended?.outcome.result === 'abandoned' ? undefined : request.occurrence;
  return {
    ...{ name, key: key.lock, fence: String(fence), owner, host: holder.host, pid: holder.pid, label: holder.label },
    ...{ backend: on.session.pid, lease: leaseMs, held: newest.ended === undefined, age: now - since },
    ...{ result: outcome?.result, error: outcome?.result === 'failed' ? outcome.error : undefined },
    ...(occurrence && { at_ms: occurrence.at.getTime(), attempt: newest.attempt, hash: occurrence.scheduleHash }),
    ...(last?.ended && { duration: last.ended.at - last.since, ended: now - last.ended.at }),
  };
}

/** data_exception, integrity_constraint_violation: a row that will never be written, and the others should not suffer for it. */
function isOfOneRow(error: unknown): boolean {
  return /^2[23]/.test((error as { code?: string }).code ?? '');
}
