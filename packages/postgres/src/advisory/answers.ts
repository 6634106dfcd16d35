import type { AcquireRequest, AcquireResult, Refusal } from '@solorun/core';
import { delay, heldBy, wasSent } from '@solorun/core/server';
import type { Row } from '../server/client.ts';
import type { Key } from '../server/keys.ts';
import { grantOf, parseRecord, refusalOfRow } from '../server/records.ts';
import type { RowLocked } from '../server/row-locked.ts';
import { wishesOf } from '../server/statements.ts';
import { LAG_MS } from './ledger.ts';
import { MODE, type Mode, type Try } from './questions.ts';
import { isKept } from './holdings.ts';
import type { LockSession } from './session.ts';

export interface AnswersTerms {
  /** A session of this process has the lock. */
  readonly isHeldHere: (lock: string) => boolean;
  readonly rowLocked: RowLocked;
  /** The session of a try ended before the answer: the try may have claimed its occurrence. */
  readonly onDoubt: (request: AcquireRequest, on: LockSession) => void;
}

/** So often, a quarter of the ledger's lag apart, the record of a new holder is asked for that has not been written yet. */
const LOOKS = 10;
const SILENT_KEPT = 1_000;

/** Asks a session for a lock, and makes of its answers what the contract knows: a grant or a refusal. */
export class Answers {
  /** Names whose last holder's guarded transaction is under way. */
  readonly guarded: Set<string> = new Set();
  /** Names that are free, but whose rows another transaction has locked. */
  readonly unclaimable: Set<string> = new Set();
  readonly #terms: AnswersTerms;
  /** Sessions that hold a lock and did not write who they are, by the lock. */
  readonly #silent = new Map<string, string>();

  constructor(terms: AnswersTerms) {
    this.#terms = terms;
  }

  async ask(request: AcquireRequest, key: Key, on: LockSession, mode: Mode, signal: AbortSignal): Promise<AcquireResult> {
    if (isKept(request) || on.isBare || mode === MODE.look) return this.#askFully(request, key, on, mode, signal);
    const name = request.ignorePause === true ? null : request.name;
    const taken = await on.take({ ...key, name }, mode === MODE.have, signal);
    if (taken === 'guarded') return this.#heldByGuard(request, key, on, signal);
    // The whole answer; a pause that has ended meanwhile is in nobody's way.
    if (taken === 'paused') return this.#askFully(request, key, on, MODE.try, signal);
    if (taken === undefined) return this.#askFully(request, key, on, MODE.look, signal);
    return { acquired: true, grant: { name: request.name, owner: request.owner, fence: taken, attempt: 1, lost: on.lost } };
  }

  async #askFully(request: AcquireRequest, key: Key, on: LockSession, mode: Mode, signal: AbortSignal): Promise<AcquireResult> {
    for (let again = 0; ; again += 1) {
      // The statement gives a lock back at once if its occurrence cannot be claimed.
      const row = await this.#askRow(request, key, on, mode === MODE.have && again > 0 ? MODE.try : mode, signal);
      const result = on.isBare ? bareAnswer(request, row, on) : answer(request, row, on);
      if (result === 'guarded') return this.#heldByGuard(request, key, on, signal);
      if (result !== undefined && (result.acquired || !this.#isUnwritten(result, row, key, again))) return result;
      // Another session writes its row at this moment, or has locked it for longer.
      if (result === undefined && again >= LOOKS) return this.#heldByRow(request.name, row);
      await delay(LAG_MS / 4, signal);
    }
  }

  async #askRow(request: AcquireRequest, key: Key, on: LockSession, mode: Mode, signal: AbortSignal): Promise<Row> {
    try {
      return await on.acquire(tryOf(request, key, mode), signal);
    } catch (error) {
      if (request.occurrence !== undefined && on.lost.aborted && wasSent(error)) this.#terms.onDoubt(request, on);
      throw error;
    }
  }

  /**
   * A session of ours has the lock, as its name tells, but its holder has not been written yet. Nobody but us calls sessions so; a
   * holder of another kind has no record, and is not waited for. Nor is a holder that did not write it in time, or a holder of this
   * process that waits for this very turn.
   */
  #isUnwritten(result: Refusal, row: Row, key: Key, again: number): boolean {
    const { session } = row;
    if (result.reason !== 'held' || result.holder !== undefined || session?.startsWith('solorun') !== true) return false;
    if (this.#silent.get(key.lock) === session || this.#terms.isHeldHere(key.lock)) return false;
    if (again < LOOKS) return true;
    if (this.#silent.size >= SILENT_KEPT) this.#silent.clear();
    this.#silent.set(key.lock, session);
    return false;
  }

  /** A transaction is under way that the last holder guarded. A waiter without a place in the server's queue polls. */
  async #heldByGuard(request: AcquireRequest, key: Key, on: LockSession, signal: AbortSignal): Promise<AcquireResult> {
    this.guarded.add(request.name);
    const row = await on.acquire(tryOf(request, key, MODE.look), signal);
    const record = parseRecord(row['record']);
    return { ...heldBy(record, Number(row['now'])), holder: record?.holder };
  }

  async #heldByRow(name: string, row: Row): Promise<AcquireResult> {
    this.unclaimable.add(name);
    const detail = await this.#terms.rowLocked.explain(name);
    return { acquired: false, reason: 'held', detail, record: parseRecord(row['record']) };
  }
}

/** Reads a row of `acquire`. Undefined: another session was quicker, ask again. */
function answer(request: AcquireRequest, row: Row, on: LockSession): AcquireResult | 'guarded' | undefined {
  if (row['fence'] != null) return { acquired: true, grant: grantOf(request, row, on.lost) };
  // Of a name that is paused the lock was not tried for.
  const isPaused = row['pause'] != null;
  if (row['locked'] === 'true' && row['got'] !== 'true' && !isPaused) return 'guarded';
  return refusalOfRow(request, row, row['got'] !== 'true' && !isPaused);
}

/** As `answer`, without a table. */
function bareAnswer(request: AcquireRequest, row: Row, on: LockSession): AcquireResult {
  const { name, owner } = request;
  if (row['fence'] != null) {
    return { acquired: true, grant: { name, owner, fence: BigInt(row['fence']), attempt: 1, lost: on.lost } };
  }
  const [, pid, host, label] = /^solorun (\d+)@(\S+)(?: (.*))?$/.exec(row['session'] ?? '') ?? [];
  if (pid === undefined || host === undefined || row['since'] == null) return { acquired: false, reason: 'held' };
  return {
    acquired: false,
    reason: 'held',
    // When the session began: the lock is no older than that.
    holder: { host, pid: Number(pid), ...(label === undefined ? {} : { label }), since: new Date(Number(row['since'])) },
  };
}

function tryOf(request: AcquireRequest, key: Key, mode: Mode): Try {
  const { name, owner, leaseMs, holder } = request;
  return {
    name,
    key: key.lock,
    guard: key.guard,
    mode,
    owner,
    host: holder.host,
    pid: holder.pid,
    label: holder.label,
    lease: leaseMs,
    ...wishesOf(request),
  };
}
