import { backoffDelay, type Backoff } from './backoff.ts';
import { delay, linkAbort } from './abort.ts';
import type { Attempt } from './attempts.ts';
import type { Core } from './core.ts';
import { describeMs, LockBusyError, LockTimeoutError, type ProviderError, quote } from './errors.ts';
import { createHints, type Held } from './hints.ts';
import type { SettledPolicy, Terms } from './options.ts';
import { Outage, supersedeRiders } from './outage.ts';
import type { Refusal } from './provider.ts';
import type { Place } from './queue.ts';

/** Clocks that agree to within this are not worth an event, in ms. */
const DRIFT_WORTH_TELLING_MS = 100;
/** No clock that is kept by a time server is that far away, in ms. */
const EARLY_WORTH_A_WARNING_MS = 60_000;

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
      return acquireWhenFree(core, terms, { outageMs, coalesce: true });
  }
}

async function orThrow(terms: Terms, pending: Promise<Attempt>): Promise<Attempt> {
  const attempt = await pending;
  if (attempt.acquired || attempt.reason !== 'held') return attempt;
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
  /** That it is busy has been told. @default false */
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

export interface WaitOptions {
  /** @default Infinity */
  readonly waitMs?: number;
  /** Of those who wait here for an earlier occurrence to end, only the newest goes on waiting. */
  readonly coalesce?: boolean;
  /** How long the provider may be away, in ms. */
  readonly outageMs: number;
}

/** Ends of a wait that are not errors of the caller's. */
const TIMED_OUT = Symbol('timed out');
const DISPLACED = Symbol('displaced by a later occurrence');

/** Waits for the name, in the local line and at its head, until it is acquired or there is nothing left to wait for. */
export async function acquireWhenFree(core: Core, terms: Terms, options: WaitOptions): Promise<Attempt> {
  const { waitMs = Number.POSITIVE_INFINITY, coalesce = false, outageMs } = options;
  const startedAt = performance.now();
  // Only the caller and the end of the solo cut a try short; the time that is left for waiting does not.
  const quit = new AbortController();
  const stop = new AbortController();
  const unlink = [linkAbort(terms.signal, quit), linkAbort(core.closing.signal, quit), linkAbort(quit.signal, stop)];
  const timer =
    waitMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(() => stop.abort(TIMED_OUT), Math.min(waitMs, 2 ** 31 - 1));
  // Of which `held` refusal an error can tell.
  let last: Held | undefined;
  /** The last time that the provider could not be asked. */
  let trouble: ProviderError | undefined;
  const outage = new Outage(core, terms, outageMs);
  let toldBusy = false;
  let earlyMs = 0;
  /** When the occurrence is due, while it is waited for. */
  let due: { readonly at: number; readonly settling: boolean } | undefined;
  let place: Place | undefined;
  let request = core.attempts.request(terms);
  const hints = createHints(core, terms, stop.signal);

  try {
    for (;;) {
      // A standby tries before it stands in line, for its occurrence may be done already.
      if (!coalesce) place ??= core.queue.enter(terms.fullName);
      await place?.head(stop.signal);
      // Even a wait of no time at all is worth one try.
      const untried = last === undefined && trouble === undefined;
      if (!untried || stop.signal.reason !== TIMED_OUT) stop.signal.throwIfAborted();
      let attempt: Attempt;
      try {
        hints.trying();
        attempt = await core.attempts.make(terms, request, quit.signal);
        hints.tried();
      } catch (error) {
        hints.end();
        if (quit.signal.aborted) throw error;
        // The unknown try is being undone by its nonce, so the next one needs a nonce of its own.
        request = core.attempts.request(terms);
        trouble = await outage.ride(error, stop.signal);
        stop.signal.throwIfAborted();
        continue;
      }
      trouble = undefined;
      outage.over();
      if (attempt.acquired) return attempt;
      if (attempt.reason === 'early') {
        tellDrift(core, terms, attempt);
        due = { at: performance.now() + attempt.earlyMs, settling: attempt.settling ?? false };
        earlyMs += attempt.earlyMs;
        if (earlyMs > terms.maxEarlyMs) return attempt;
        tellLongWait(core, terms, attempt);
        place?.leave();
        place = undefined;
        await delay(Math.ceil(attempt.earlyMs), stop.signal);
        stop.signal.throwIfAborted();
        due = undefined;
        continue;
      }
      if (attempt.reason !== 'held') return attempt;
      last = attempt;
      if (!toldBusy) tellBusy(core, terms, attempt);
      toldBusy = true;
      if (coalesce && !standBy(core, terms, attempt, () => stop.abort(DISPLACED))) return superseded(attempt);
      place ??= core.queue.enter(terms.fullName);
      // Whoever comes to the head only later tries at once: what it was told is old by then.
      if (place.isHead()) await hints.untilWorthATry(request, attempt, place);
      stop.signal.throwIfAborted();
    }
  } catch (error) {
    if (error === TIMED_OUT) {
      // Nobody was in the way: it could not be asked.
      if (last === undefined && trouble !== undefined) throw trouble;
      throw new LockTimeoutError(terms.name, last?.holder, last?.heldForMs, performance.now() - startedAt, {
        detail:
          due === undefined
            ? last?.detail
            : `its occurrence is due only in ${describeMs(due.at - performance.now())}, by the provider's clock`,
        settling: due?.settling ?? last?.settling,
        ...(trouble === undefined ? {} : { cause: trouble }),
      });
    }
    if (error === DISPLACED) return superseded(last);
    throw error;
  } finally {
    clearTimeout(timer);
    for (const end of unlink) end();
    hints.end();
    outage.end();
    place?.leave();
    leaveStandby(core, terms);
  }
}

/**
 * Registers a standby whose occurrence is later than the one that runs, and displaces an older one of its kind: after a long run
 * one late run follows, not a burst of them. False if a newer one waits here already.
 */
function standBy(core: Core, terms: Terms, held: Held, displace: () => void): boolean {
  const at = terms.occurrence?.at.getTime() ?? 0;
  const running = held.record?.occurrence?.at.getTime();
  // Standing by for the very occurrence that runs: that is what a standby is for, and nothing displaces it.
  if (running === undefined || running >= at) {
    leaveStandby(core, terms);
    return true;
  }
  const other = core.standbys.get(terms.fullName);
  if (other?.at === at) return true;
  if (other !== undefined && other.at > at) return false;
  if (other !== undefined && other.at !== running) other.displace();
  core.standbys.set(terms.fullName, { at, displace });
  return true;
}

function leaveStandby(core: Core, terms: Terms): void {
  if (core.standbys.get(terms.fullName)?.at === terms.occurrence?.at.getTime()) core.standbys.delete(terms.fullName);
}

function superseded(held: Held | undefined): Refusal {
  return { acquired: false, reason: 'superseded', record: held?.record };
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

function tellBusy(core: Core, terms: Terms, held: Held): void {
  const { holder, heldForMs, detail } = held;
  core.events.emit('busy', { name: terms.name, provider: core.settings.provider.kind, holder, heldForMs, detail });
}

export function tellSkipped(core: Core, terms: Terms, refusal: Refusal | { readonly reason: 'closed' }): void {
  const at = terms.occurrence?.at;
  const { holder, detail } = refusal.reason === 'held' ? refusal : {};
  const { reason } = refusal;
  core.events.emit('skipped', { name: terms.name, provider: core.settings.provider.kind, reason, at, holder, detail });
}

function tellDrift(core: Core, terms: Terms, { earlyMs, settling = false }: Extract<Refusal, { reason: 'early' }>): void {
  if (settling || earlyMs < DRIFT_WORTH_TELLING_MS) return;
  core.events.emit('drift', { name: terms.name, provider: core.settings.provider.kind, earlyMs });
}

/** A wait of hours must not look like a hang. */
function tellLongWait(core: Core, terms: Terms, { earlyMs, settling = false }: Extract<Refusal, { reason: 'early' }>): void {
  if (settling || earlyMs < EARLY_WORTH_A_WARNING_MS || core.earlyTold.has(terms.fullName)) return;
  core.earlyTold.add(terms.fullName);
  process.emitWarning(
    `${quote(terms.name)} was asked for ${terms.occurrence?.at.toISOString()}, which by the provider's clock is only in ` +
      `${describeMs(earlyMs)}: it waits for that. The clock of this machine runs ahead, or Date is faked, or another instant was meant.`,
    { code: 'SOLORUN_EARLY' },
  );
}
