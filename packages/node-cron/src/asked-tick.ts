import { SolorunError, type Lease, type Outcome, quote } from '@solorun/core';
import { listenToTick, type Ear, type TickListener } from './tick.ts';

export interface TickTerms {
  /** As node-cron knows the tick. */
  readonly key: string;
  /** Of the task, and so of the lock. */
  readonly name: string;
  /** The instant of the tick. */
  readonly at: Date;
  /** How long the answer may take, in ms. */
  readonly maxWaitMs: number;
  /** How long the tick may keep the lock, in ms; undefined: as long as its handler runs. */
  readonly maxRunMs: number | undefined;
  /** Called once, just before the lock is released. */
  readonly onOver: () => void;
}

/** How long a tick keeps the lock when node-cron may never report its end, in ms. */
const DOUBT_MS = 3_600_000;

/** A tick from the moment in which node-cron asks for it until it is refused, or until its run is over and its lock released. */
export class AskedTick implements TickListener {
  readonly key: string;
  readonly #terms: TickTerms;
  readonly #asking = new AbortController();
  /** Ends an answer that takes too long. */
  readonly #patience: NodeJS.Timeout;
  readonly #ear: Ear;
  /** Undefined until the tick is granted. */
  #lease: Lease | undefined;
  /** Ends a tick whose end node-cron does not report. */
  #doubt: NodeJS.Timeout | undefined;
  #over: Promise<void> | undefined;

  constructor(terms: TickTerms) {
    const { key, name, at, maxWaitMs } = terms;
    this.key = key;
    this.#terms = terms;
    const tooLong = `Cannot claim ${quote(name)} for ${at.toISOString()}: no answer within ${maxWaitMs} ms`;
    this.#patience = setTimeout(() => this.#asking.abort(new SolorunError('SOLORUN_COORDINATOR_TIMEOUT', tooLong)), maxWaitMs);
    this.#ear = listenToTick(name, at, this);
  }

  /** Aborts when an answer comes too late to be of use. */
  get signal(): AbortSignal {
    return this.#asking.signal;
  }

  /** To be called just before node-cron gets its yes. */
  grant(lease: Lease): void {
    const { maxRunMs } = this.#terms;
    if (maxRunMs !== undefined) this.#doubt = setTimeout(() => this.#unheard(maxRunMs), maxRunMs).unref();
    this.#lease = lease;
    this.#ear.granted();
  }

  /** The question is answered. A tick that was not granted is over. */
  answered(): void {
    clearTimeout(this.#patience);
    if (this.#lease === undefined) this.#ear.close();
  }

  /** From the task's events. */
  ended(outcome: Outcome): void {
    if (this.#lease !== undefined) void this.end(outcome);
    else this.#asking.abort(new SolorunError('SOLORUN_WITHDRAWN', `The task ${quote(this.#terms.name)} no longer asks.`));
  }

  inDoubt(doubt: boolean): void {
    if (this.#terms.maxRunMs !== undefined) return;
    clearTimeout(this.#doubt);
    if (doubt) this.#doubt = setTimeout(() => this.#unheard(DOUBT_MS), DOUBT_MS).unref();
  }

  /** Releases the lock of a tick that was granted. Only the first outcome counts. */
  end(outcome: Outcome): Promise<void> {
    this.#over ??= this.#release(this.#lease!, outcome);
    return this.#over;
  }

  async #release(lease: Lease, outcome: Outcome): Promise<void> {
    this.#ear.close();
    clearTimeout(this.#doubt);
    this.#terms.onOver();
    const lost = lease.signal.aborted && outcome.result === 'done';
    await lease.release(lost ? { result: 'failed', error: String(lease.signal.reason) } : outcome);
  }

  #unheard(afterMs: number): void {
    const error = `node-cron did not tell within ${afterMs} ms how the run ended`;
    process.emitWarning(`The lock ${quote(this.#terms.name)} is given back, and its handler may still run: ${error}.`, {
      code: 'SOLORUN_UNHEARD',
    });
    if (this.#lease !== undefined) void this.end({ result: 'failed', error });
  }
}
