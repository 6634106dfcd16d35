import { backoffDelay, type Backoff } from './backoff.ts';
import { delay, linkAbort } from './abort.ts';
import type { Attempt } from './attempts.ts';
import type { Core } from './core.ts';
import { LockBusyError, LockPausedError } from './errors.ts';
import type { SettledPolicy, Terms } from './settle.ts';
import { Outage, supersedeRiders } from './outage.ts';
import type { Refusal } from './provider.ts';
import { tellBusy, tellDrift, tellLongWait } from './reports.ts';
import { Wait, type WaitOptions } from './wait.ts';

/** Acquires by the policy: a lease, or why there is none. */
export function acquireBy(core: Core, terms: Terms, policy: SettledPolicy): Promise<Attempt> {
  const { outageMs } = policy;
  supersedeRiders(core, terms);
  switch (policy.onBusy) {
    case 'skip':
      return tryOnce(core, terms, { outageMs });
    case 'throw':
      return orThrow(terms, tryOnce(core, terms, { outageMs }));
    case 'retry':
      return withRetries(core, terms, policy.retry, outageMs);
    case 'wait':
      return acquireWhenFree(core, terms, { waitMs: policy.waitMs, outageMs });
    case 'standby':
      return acquireWhenFree(core, terms, { outageMs, standby: true });
  }
}

async function orThrow(terms: Terms, pending: Promise<Attempt>): Promise<Attempt> {
  const attempt = await pending;
  if (attempt.acquired) return attempt;
  if (attempt.reason === 'paused') throw new LockPausedError(terms.name, attempt);
  if (attempt.reason !== 'held') return attempt;
  throw new LockBusyError(terms.name, attempt.holder, attempt.heldForMs, attempt.settling, attempt.detail);
}

async function withRetries(core: Core, terms: Terms, backoff: Backoff, outageMs: number): Promise<Attempt> {
  for (let retry = 1; ; retry += 1) {
    const attempt = await tryOnce(core, terms, { again: retry > 1, outageMs });
    if (attempt.acquired || attempt.reason !== 'held' || retry > backoff.retries) return attempt;
    await pause(core, terms, backoffDelay(backoff, retry));
  }
}

export interface TryOptions {
  /** The `busy` event was emitted already. @default false */
  readonly again?: boolean;
  /** How long the provider may be away, in ms. @default 0 */
  readonly outageMs?: number;
}

/** One try that the provider answers, and another one if it was too early. */
export async function tryOnce(core: Core, terms: Terms, options?: TryOptions): Promise<Attempt> {
  const attempt = await ask(core, terms, options?.outageMs);
  return attempt.acquired ? attempt : refused(core, terms, attempt, options);
}

function ask(core: Core, terms: Terms, outageMs = 0): Promise<Attempt> {
  if (outageMs > 0) return askThrough(core, terms, outageMs);
  return core.attempts.make(terms, core.attempts.request(terms), terms.signal, core.closing.signal);
}

/** Asks until the provider answers. */
async function askThrough(core: Core, terms: Terms, outageMs: number): Promise<Attempt> {
  return untilClosed(core, terms, async (signal) => {
    const outage = new Outage(core, terms, outageMs);
    try {
      for (;;) {
        try {
          const attempt = await core.attempts.make(terms, core.attempts.request(terms), signal);
          outage.over();
          return attempt;
        } catch (error) {
          if (signal.aborted) throw error;
          await outage.ride(error, signal);
          signal.throwIfAborted();
        }
      }
    } finally {
      outage.end();
    }
  });
}

async function refused(core: Core, terms: Terms, first: Refusal, options: TryOptions = {}): Promise<Attempt> {
  const { again = false, outageMs } = options;
  let attempt: Attempt = first;
  for (let waitedMs = 0; !attempt.acquired; attempt = await ask(core, terms, outageMs)) {
    if (attempt.reason === 'held' && !again) tellBusy(core, terms, attempt);
    if (attempt.reason !== 'early') return attempt;
    tellDrift(core, terms, attempt);
    waitedMs += attempt.earlyMs;
    if (waitedMs > terms.maxEarlyMs) return attempt;
    tellLongWait(core, terms, attempt);
    await pause(core, terms, Math.ceil(attempt.earlyMs));
  }
  return attempt;
}

/** Waits for the name until it is acquired or there is nothing left to wait for. */
export function acquireWhenFree(core: Core, terms: Terms, options: WaitOptions): Promise<Attempt> {
  return new Wait(core, terms, options).run();
}

/** Runs `step` with a signal that aborts when the caller gives up or the solo closes. */
function untilClosed<T>(core: Core, terms: Terms, step: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return terms.signal === undefined ? step(core.closing.signal) : untilEither(terms.signal, core.closing.signal, step);
}

async function untilEither<T>(a: AbortSignal, b: AbortSignal, step: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const unlink = [linkAbort(a, stop), linkAbort(b, stop)];
  try {
    return await step(stop.signal);
  } finally {
    for (const end of unlink) end();
  }
}

/** A delay that rejects when the caller gives up or the solo closes. */
function pause(core: Core, terms: Terms, ms: number): Promise<void> {
  return untilClosed(core, terms, async (signal) => {
    await delay(ms, signal);
    signal.throwIfAborted();
  });
}
