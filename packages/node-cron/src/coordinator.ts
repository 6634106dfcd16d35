import {
  ClosedError,
  OptionError,
  SolorunError,
  type Claim,
  type ClaimOptions,
  type LeaseOptions,
  type Solo,
  quote,
} from '@solorun/core';
import { bindVerbs } from '@solorun/core/server';
import type { RunCoordinator } from 'node-cron';
import { AskedTick } from './asked-tick.ts';

export interface CoordinatorOptions extends Pick<LeaseOptions, 'leaseMs'> {
  /**
   * How long node-cron may wait for an answer, in ms, when the provider is slow or this machine's clock runs ahead. A claim that is
   * granted later is abandoned. The processes of background tasks give up after 5 s, so it is at most 4_500. @default 3_000
   */
  readonly maxWaitMs?: number;
  /**
   * How long a tick may keep the lock, in ms, whatever node-cron reports of it. Choose more than any run takes. Without it a tick
   * keeps the lock for as long as its handler runs. Where node-cron may never report the end, the tick then keeps the lock for an
   * hour from when that is noticed. @default none
   */
  readonly maxRunMs?: number;
}

/** node-cron's `RunCoordinator`, whose optional `onComplete` is always there. */
export interface SoloCoordinator extends RunCoordinator {
  shouldRun(key: string, ttlMs: number): Promise<boolean>;
  onComplete(key: string): Promise<void>;
}

/** A tick that comes early, by the provider's clock, is waited for at most this part of `maxWaitMs`: the rest is for asking again. */
const EARLY_SHARE = 2 / 3;

/**
 * A run coordinator for node-cron: of all replicas one runs each tick, and no tick starts while an earlier one of the same task
 * still runs anywhere. It is for `distributed` tasks, also for those that name a file:
 *
 * ```ts
 * cron.schedule('0 3 * * *', './backup.js', { name: 'nightly-backup', distributed: true, runCoordinator: soloCoordinator(solo) });
 * ```
 *
 * The lock has the name of the task. The occurrence is the tick, and it stays claimed after the run, so a replica that fires late does
 * not run it again. The lease lasts `leaseMs` and is renewed until the handler has settled. node-cron's `distributedLease` is not used:
 * a lease that is renewed needs no guess at how long a run takes.
 *
 * `schedule` promises more. Here node-cron calls the handler, so the handler gets no fence and does not learn that the lease was lost
 * (the solo's `lost` event reports it). A failed tick is not tried again, and `task.execute()` takes no lock.
 *
 * Two things cannot be seen from here: whether `stop()` caught a *background* task in its random delay or in its handler, and tasks of
 * a second installed version of node-cron. Such a tick keeps the lock until node-cron reports its end, for `maxRunMs` at most (an hour
 * if not given). A process warning with the code `SOLORUN_UNHEARD` says so.
 *
 * `shouldRun` rejects when the provider cannot be asked. node-cron then logs why and skips the tick (`coordinator-error`).
 *
 * @throws OptionError
 */
export function soloCoordinator(solo: Solo, options: CoordinatorOptions = {}): SoloCoordinator {
  const { maxWaitMs = 3_000, maxRunMs } = options;
  checkMs('maxWaitMs', maxWaitMs, 4_500);
  if (maxRunMs !== undefined) checkMs('maxRunMs', maxRunMs, 2 ** 31 - 1);
  return bindVerbs(new Coordinator(solo, { ...options, maxWaitMs }));
}

class Coordinator implements SoloCoordinator {
  readonly #solo: Solo;
  readonly #options: CoordinatorOptions & { readonly maxWaitMs: number };
  /** The ticks that run here, by the name of their task, whether or not their lease is still trusted. */
  readonly #ticks = new Map<string, AskedTick>();

  constructor(solo: Solo, options: CoordinatorOptions & { readonly maxWaitMs: number }) {
    this.#solo = solo;
    this.#options = options;
  }

  async shouldRun(key: string): Promise<boolean> {
    const { name, at } = parseKey(key);
    const { maxWaitMs, maxRunMs } = this.#options;
    const tick = new AskedTick({ key, name, at, maxWaitMs, maxRunMs, onOver: () => this.#ticks.delete(name) });
    try {
      const claim = await this.#solo.claim(name, this.#claimOf(at, tick.signal));
      if (!claim.acquired) {
        if (claim.reason === 'early') throw earlyError(name, at, claim);
        return false;
      }
      // A tick that lost its lease still runs here, and a claim of the next one may succeed.
      if (tick.signal.aborted || this.#ticks.has(name)) {
        void claim.lease.release({ result: 'abandoned' });
        return false;
      }
      this.#ticks.set(name, tick);
      tick.grant(claim.lease);
      return true;
    } catch (error) {
      // A tick that fires while the program shuts down is no error.
      if (error instanceof ClosedError) return false;
      throw error;
    } finally {
      tick.answered();
    }
  }

  async onComplete(key: string): Promise<void> {
    const tick = this.#ticks.get(parseKey(key).name);
    // The task's events may have reported its end already, and a later tick may run.
    if (tick?.key === key) await tick.end({ result: 'done' });
  }

  #claimOf(occurrence: Date, signal: AbortSignal): ClaimOptions {
    const { leaseMs, maxWaitMs } = this.#options;
    return { occurrence, maxEarlyMs: maxWaitMs * EARLY_SHARE, signal, ...(leaseMs === undefined ? {} : { leaseMs }) };
  }
}

/** An instant as `toISOString` writes it, for the years 0 to 9999. */
const ISO_LENGTH = '2025-01-01T00:00:00.000Z'.length;

/** node-cron's key is `name:<slot>`. The name may be any text, with colons and instants in it. */
function parseKey(key: string): { readonly name: string; readonly at: Date } {
  const name = key.slice(0, -ISO_LENGTH - 1);
  const iso = key.slice(-ISO_LENGTH);
  const at = new Date(iso);
  if (key.at(-ISO_LENGTH - 1) !== ':' || Number.isNaN(at.getTime()) || at.toISOString() !== iso) {
    throw new OptionError(`${JSON.stringify(key)} is not a key of node-cron's: a task's name, ":", and the instant of the tick.`);
  }
  return { name, at };
}

function earlyError(name: string, at: Date, { earlyMs, settling = false }: Extract<Claim, { reason: 'early' }>): SolorunError {
  const inMs = `${Math.round(earlyMs)} ms`;
  const why = settling
    ? `the provider has just come back, and grants nothing for another ${inMs}. schedule() waits.`
    : `by the provider's clock that is in ${inMs}, so this machine's clock runs ahead. Set it right, or use schedule(), which waits.`;
  return new SolorunError('SOLORUN_EARLY', `Cannot claim ${quote(name)} for ${at.toISOString()}: ${why}`);
}

function checkMs(option: string, value: number, max: number): void {
  if (typeof value !== 'number' || !(value >= 1) || value > max) {
    throw new OptionError(`${option} is a number of milliseconds from 1 to ${max}, not ${String(value)}.`);
  }
}
