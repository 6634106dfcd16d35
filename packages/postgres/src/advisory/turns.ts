import type { AcquireRequest, AcquireResult, Grant, Outcome } from '@solorun/core';
import { KeyedMutex, unlessAborted, type Questions } from '@solorun/core/server';
import { rememberGuard } from '../server/guard.ts';
import type { Key } from '../server/keys.ts';
import type { Session } from '../server/session.ts';
import type { Answers } from './answers.ts';
import type { Capacity } from './capacity.ts';
import { Holding, type Holdings } from './holdings.ts';
import type { JobRecords } from './job-records.ts';
import type { Opening } from './opening.ts';
import { MODE, type Ending } from './questions.ts';
import type { Queue, WaitOn } from './queue.ts';
import type { LockSession } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Settling } from './settling.ts';

export interface TurnsTerms {
  readonly holdings: Holdings;
  readonly sessions: Sessions;
  readonly queue: Queue;
  readonly records: JobRecords;
  readonly answers: Answers;
  readonly opening: Opening;
  readonly settling: Settling;
  readonly questions: Questions<Session>;
  readonly capacity: Capacity;
}

/** Tries and releases of this process, one at a time for each lock. */
export class Turns {
  readonly #mutex = new KeyedMutex<string>();
  readonly #holdings: Holdings;
  readonly #sessions: Sessions;
  readonly #queue: Queue;
  readonly #records: JobRecords;
  readonly #answers: Answers;
  readonly #opening: Opening;
  readonly #settling: Settling;
  readonly #questions: Questions<Session>;
  readonly #capacity: Capacity;
  /** Tries that are under way, of all locks. */
  #trying = 0;

  constructor(terms: TurnsTerms) {
    this.#holdings = terms.holdings;
    this.#sessions = terms.sessions;
    this.#queue = terms.queue;
    this.#records = terms.records;
    this.#answers = terms.answers;
    this.#opening = terms.opening;
    this.#settling = terms.settling;
    this.#questions = terms.questions;
    this.#capacity = terms.capacity;
  }

  try(request: AcquireRequest, key: Key, signal: AbortSignal): Promise<AcquireResult> {
    return this.#mutex.run(key.lock, () => this.#tryInTurn(request, key, signal));
  }

  release(grant: Grant, key: Key, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    return this.#mutex.run(key.lock, () => this.#releaseInTurn(grant, key, outcome, signal));
  }

  async #tryInTurn(request: AcquireRequest, key: Key, signal: AbortSignal): Promise<AcquireResult> {
    signal.throwIfAborted();
    const wait = this.#queue.take(request.owner);
    this.#trying += 1;
    let result: AcquireResult | undefined;
    let here: Holding | undefined;
    let on: LockSession | undefined;
    try {
      const doubt = this.#questions.doubt(request.name, signal);
      if (doubt !== undefined) await doubt;
      on = wait?.on ?? this.#sessions.current(request.leaseMs) ?? (await this.#sessions.get(request.leaseMs, signal));
      on.users += 1;
      if (on.isBare) await this.#checkTables(on, request, signal);
      here = this.#holdings.of(key.lock);
      const isHeld = here?.isHeld === true;
      const settlesInMs = isHeld ? 0 : on.settlesInMs(request.leaseMs);
      if (settlesInMs > 0) return this.#settling.refusal(settlesInMs, request);
      const mode = isHeld ? MODE.look : wait === undefined ? MODE.try : MODE.have;
      if (mode === MODE.try && this.#capacity.look(this.#holdings.size, this.#trying)) await this.#capacity.check(on, this.#trying);
      // The table says who holds the lock here, as it says of any other holder.
      if (mode === MODE.look) await this.#records.ledger.written();
      result = await this.#answers.ask(request, key, on, mode, signal);
      // A session that has just ended holds nothing; its end has been told already.
      if (result.acquired && !on.lost.aborted) this.#hold(request, key, result.grant, on);
      if (!result.acquired || !signal.aborted) return result;
    } finally {
      this.#trying -= 1;
      if (on !== undefined) on.users -= 1;
      if (wait !== undefined) await this.#leaveQueue(wait, key, result, here);
    }
    // Nobody waits for it any more.
    await this.#releaseInTurn(result.grant, key, { result: 'abandoned' }, never);
    throw signal.reason;
  }

  async #checkTables(on: LockSession, request: AcquireRequest, signal: AbortSignal): Promise<void> {
    await unlessAborted(Promise.resolve(on.lookAgain(this.#opening.missing === undefined)), signal);
    if (request.occurrence !== undefined && on.isBare) throw this.#records.withoutTables();
  }

  /** The session of a place in the queue has the lock: it keeps what was granted, and gives back what nobody may have. */
  async #leaveQueue(wait: WaitOn, key: Key, result: AcquireResult | undefined, here: Holding | undefined): Promise<void> {
    if (result === undefined || (here !== undefined && !result.acquired)) await this.#queue.giveBack(wait, key.lock);
    else if (!result.acquired) this.#queue.leave(wait, key.lock);
  }

  #hold(request: AcquireRequest, key: Key, grant: Grant, on: LockSession): void {
    const holding = new Holding(request, key, grant.fence, on, grant.attempt);
    on.hold(key.lock, holding);
    this.#answers.guarded.delete(request.name);
    this.#opening.handedOut(grant.fence);
    if (on.isBare) return;
    rememberGuard(grant, holding);
    if (!holding.durable) this.#records.ledger.note(holding);
  }

  /** Asks without a turn: the session keeps renewals and releases in their order. */
  async renew(grant: Grant, { lock }: Key, signal: AbortSignal): Promise<boolean> {
    const held = this.#holdings.of(lock);
    if (held?.request.owner !== grant.owner) return false;
    const { name, owner } = grant;
    const ours = await held.on.confirm({ name, owner, fence: String(held.fence), written: held.written }, lock, signal);
    if (ours === false) await this.#mutex.run(lock, () => this.#letGo(held));
    if (ours === 'unwritten') {
      held.written = false;
      this.#records.ledger.note(held);
    }
    return ours !== false;
  }

  async #releaseInTurn(grant: Grant, { lock }: Key, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const held = this.#holdings.of(lock);
    if (held?.request.owner !== grant.owner) return this.#releaseElsewhere(grant, outcome, signal);
    if (held.durable || held.on.isBare) {
      const released = await held.on.release(endingOf(grant, outcome, lock, held.durable), signal);
      this.#forget(held, outcome);
      return released;
    }
    const freed = await held.on.free(lock, signal);
    this.#forget(held, outcome);
    this.#records.ledger.note(held);
    return freed;
  }

  /** Another session holds it, perhaps of another process. */
  async #releaseElsewhere(grant: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const on = await this.#sessions.any(signal);
    // Without tables, what is not held here is not known at all.
    if (on.isBare) return false;
    await this.#records.ledger.written();
    return on.release(endingOf(grant, outcome, undefined, true), signal);
  }

  /** The lock is not held here any more. */
  #forget(held: Holding, outcome: Outcome): void {
    this.#holdings.end(held, outcome);
    this.#queue.over(held.on);
  }

  /** Nobody has renewed the lock in time. */
  lapsed(lock: string): void {
    const held = this.#holdings.of(lock);
    if (held !== undefined) void this.#mutex.run(lock, () => this.#letGo(held));
  }

  /** An operator has released it, or its row is gone, or nobody renewed it: the lock goes too. */
  async #letGo(held: Holding): Promise<void> {
    const { lock } = held.key;
    if (this.#holdings.of(lock) !== held) return;
    await held.on.free(lock, never).catch((error: unknown) => held.on.session.destroy(error as Error));
    this.#forget(held, { result: 'abandoned' });
  }

  /** A try whose answer never came may have claimed an occurrence; its lock ended with the session. */
  async takeBack(name: string, owner: string): Promise<boolean> {
    const on = await this.#sessions.any();
    return on.isBare || on.release(endingOf({ name, owner }, { result: 'abandoned' }, undefined, true), never);
  }
}

interface Ended {
  readonly name: string;
  readonly owner: string;
}

function endingOf({ name, owner }: Ended, outcome: Outcome, key: string | undefined, durable: boolean): Ending {
  return { name, owner, key, result: outcome.result, error: outcome.result === 'failed' ? outcome.error : undefined, durable };
}

/** For work that has to be done although nobody waits for it. */
const never = new AbortController().signal;
