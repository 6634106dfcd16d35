import {
  ClosedError,
  OptionError,
  quote,
  SolorunError,
  type Claim,
  type Lease,
  type LeaseOptions,
  type Outcome,
  type Solo,
} from '@solorun/core';
import type { RunCoordinator } from 'node-cron';
import { listenToTick } from './tick.ts';

export interface CoordinatorOptions extends Pick<LeaseOptions, 'leaseMs'> {
  /**
   * How long node-cron may wait for an answer, in ms: a slow provider, and a clock that runs ahead. A claim that comes later is
   * undone. The processes of background tasks give up after 5 s, so it is at most 4_500. @default 3_000
   */
  readonly maxWaitMs?: number;
  /**
   * How long a tick may keep the lock, in ms, whatever node-cron tells of it: longer than any run takes. Without it a tick keeps
   * the lock for as long as its handler runs; only where node-cron may never tell of its end, for an hour from when that is
   * noticed. @default none
   */
  readonly maxRunMs?: number;
}

/** As node-cron's, with the completion that it always has. */
export interface SoloCoordinator extends RunCoordinator {
  shouldRun(key: string, ttlMs: number): Promise<boolean>;
  onComplete(key: string): Promise<void>;
}

/** Between asking, being early and asking again, this part of `maxWaitMs` may go by in waiting for the time to come. */
const EARLY_SHARE = 2 / 3;
/** How long a tick keeps the lock when node-cron may never tell of its end. */
const DOUBT_MS = 3_600_000;

interface Tick {
  readonly key: string;
  readonly lease: Lease;
  end(outcome: Outcome): Promise<void>;
}

/**
 * A run coordinator for node-cron: of all replicas one runs each tick, and no tick starts while an earlier one of the same task
 * still runs anywhere. For `distributed` tasks, also those that name a file:
 *
 * ```ts
 * cron.schedule('0 3 * * *', './backup.js', { name: 'nightly-backup', distributed: true, runCoordinator: soloCoordinator(solo) });
 * ```
 *
 * The lock is named like the task, the occurrence is the tick, and it stays claimed after the run: a replica that fires late does
 * not run it again. The lease is renewed until the handler has settled. node-cron's `distributedLease` is not used, because what
 * is renewed needs no guess at how long a run takes; the lease is `leaseMs`.
 *
 * `schedule` is the stronger one. Here the handler is called by node-cron: it cannot be told that the lease was lost (the solo's
 * `lost` event is), it gets no fence, a failed tick is not tried again, and `task.execute()` asks nobody. What cannot be seen from
 * here: whether `stop()` caught a *background* task in its random delay or in its handler, and tasks of a second installed
 * version of node-cron. Such a tick keeps the lock until node-cron tells of its end, for `maxRunMs` at most (an hour if not given);
 * a process warning with the code `SOLORUN_UNHEARD` says so.
 *
 * `shouldRun` rejects when the provider could not be asked, so node-cron logs why and skips the tick (`coordinator-error`).
 *
 * @throws OptionError
 */
export function soloCoordinator(solo: Solo, options: CoordinatorOptions = {}): SoloCoordinator {
  const { leaseMs, maxWaitMs = 3_000, maxRunMs } = options;
  checkMs('maxWaitMs', maxWaitMs, 4_500);
  if (maxRunMs !== undefined) checkMs('maxRunMs', maxRunMs, 2 ** 31 - 1);
  /** By the name of their task: those that run here, whether or not their lease is still trusted. */
  const ticks = new Map<string, Tick>();

  async function shouldRun(key: string): Promise<boolean> {
    const { name, at } = parseKey(key);
    const asking = new AbortController();
    const tooLong = `Cannot claim ${quote(name)} for ${at.toISOString()}: no answer within ${maxWaitMs} ms`;
    const timer = setTimeout(() => asking.abort(new SolorunError('SOLORUN_COORDINATOR_TIMEOUT', tooLong)), maxWaitMs);
    let tick: Tick | undefined;
    let doubt: NodeJS.Timeout | undefined;

    const ear = listenToTick(name, at, {
      ended(outcome) {
        if (tick === undefined) asking.abort(new SolorunError('SOLORUN_WITHDRAWN', `The task ${quote(name)} no longer asks.`));
        else void tick.end(outcome);
      },
      inDoubt(inDoubt) {
        if (maxRunMs !== undefined) return;
        clearTimeout(doubt);
        if (inDoubt) doubt = setTimeout(unheard, DOUBT_MS, DOUBT_MS).unref();
      },
    });

    function unheard(afterMs: number): void {
      const error = `node-cron did not tell within ${afterMs} ms how the run ended`;
      process.emitWarning(`The lock ${quote(name)} is given back, and its handler may still run: ${error}.`, {
        code: 'SOLORUN_UNHEARD',
      });
      void tick?.end({ result: 'failed', error });
    }

    function hold(lease: Lease): Tick {
      if (maxRunMs !== undefined) doubt = setTimeout(unheard, maxRunMs, maxRunMs).unref();
      let ended: Promise<void> | undefined;
      return {
        key,
        lease,
        end(outcome) {
          ended ??= (async () => {
            ear.close();
            clearTimeout(doubt);
            ticks.delete(name);
            const lost = lease.signal.aborted && outcome.result === 'done';
            await lease.release(lost ? { result: 'failed', error: String(lease.signal.reason) } : outcome);
          })();
          return ended;
        },
      };
    }

    try {
      const claim = await solo.claim(name, {
        occurrence: at,
        maxEarlyMs: maxWaitMs * EARLY_SHARE,
        signal: asking.signal,
        ...(leaseMs === undefined ? {} : { leaseMs }),
      });
      if (!claim.acquired) {
        if (claim.reason === 'early') throw earlyError(name, at, claim);
        return false;
      }
      // A tick that lost its lease still runs here, and a claim of the next one may succeed.
      if (asking.signal.aborted || ticks.has(name)) {
        void claim.lease.release({ result: 'abandoned' });
        return false;
      }
      tick = hold(claim.lease);
      ticks.set(name, tick);
      ear.granted();
      return true;
    } catch (error) {
      // A tick that fires while the program shuts down is no error.
      if (error instanceof ClosedError) return false;
      throw error;
    } finally {
      clearTimeout(timer);
      if (tick === undefined) ear.close();
    }
  }

  return {
    shouldRun,
    async onComplete(key) {
      const tick = ticks.get(parseKey(key).name);
      // Its end may be known already, from the task's events, and a later tick may run.
      if (tick?.key === key) await tick.end({ result: 'done' });
    },
  };
}

/** An instant as `toISOString` writes it, for the years 0 to 9999. */
const ISO_LENGTH = '2025-01-01T00:00:00.000Z'.length;

/** node-cron's key is `name:<slot>`, and the name may be anything, colons and instants included. */
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
