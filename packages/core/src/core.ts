import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { delay, onceAborted } from './abort.ts';
import { createCalls, type Calls } from './calls.ts';
import { ClosedError, messageOf, ProviderError, quote, redact, SolorunError } from './errors.ts';
import { createEvents, type Events } from './events.ts';
import { createHeartbeat } from './heartbeat.ts';
import { HeldLease, type LeaseKeeper, type ReleaseAnswer } from './lease.ts';
import { callTimeout, type SoloSettings, type Terms } from './options.ts';
import type { AcquireRequest, Grant, LockProvider, Outcome, Refusal } from './provider.ts';
import type { Outages, Riders } from './outage.ts';
import { queueOf, type Queue } from './queue.ts';
import { createSchedules } from './schedules.ts';
import { throttleOf, type Pass, type TryEnd } from './throttle.ts';

export type Attempt = { readonly acquired: true; readonly lease: HeldLease } | Refusal;

/** What one solo is made of: the leases it holds, and the two verbs that touch a provider on their behalf. */
export interface Core {
  readonly settings: SoloSettings;
  readonly events: Events;
  readonly queue: Queue;
  readonly calls: Calls;
  /** Held now. */
  readonly leases: ReadonlySet<HeldLease>;
  /** Of those, the ones whose handlers are done, and which the provider has not been told of yet. */
  readonly releasing: ReadonlySet<HeldLease>;
  /** By full name: the one standby here that waits for an earlier occurrence to end. */
  readonly standbys: Map<string, { readonly at: number; displace(): void }>;
  readonly riders: Riders;
  readonly outages: Outages;
  /** Full names of which it was told that they were asked for much too early. */
  readonly earlyTold: Set<string>;
  /** Aborts with a `ClosedError` when the solo closes. */
  readonly closing: AbortController;
  request(terms: Terms): AcquireRequest;
  /** Asks the provider once. Rejects if it could not be asked, if its answer came too late to be trusted, or if one of the signals aborts. */
  attempt(terms: Terms, request: AcquireRequest, ...signals: (AbortSignal | undefined)[]): Promise<Attempt>;
}

/** Tries of a release after the first one, while the lease is still ours. */
const RELEASE_RETRIES = 5;
const RELEASE_RETRY_MS = 100;

export function createCore(settings: SoloSettings): Core {
  const { provider, clock, identity } = settings;
  const events = createEvents();
  const queue = queueOf(provider);
  const throttle = throttleOf(provider);
  const schedules = createSchedules(provider.kind, events);
  const calls = createCalls();
  const leases = new Set<HeldLease>();
  const releasing = new Set<HeldLease>();
  const closing = new AbortController();
  // Every run and every wait listens to it, and so may whoever uses the solo.
  setMaxListeners(0, closing.signal);
  // A listener that stays: else the first of each run would be added to the signal itself, and taken off again.
  onceAborted(closing.signal, () => {});

  const heartbeat = createHeartbeat(provider, calls, clock, (lease, error) => unconfirmed(lease.name, 'renew', error));

  function unconfirmed(name: string, operation: 'renew' | 'release' | 'acquire', error: unknown): void {
    events.emit('unconfirmed', { name, provider: provider.kind, operation, error });
  }

  const keeper: LeaseKeeper = {
    lost(lease, error) {
      heartbeat.remove(lease);
      // A grant that is lost before anybody was given it is told as an answer that came too late.
      if (!leases.delete(lease)) return;
      events.emit('lost', { name: lease.name, provider: provider.kind, fence: lease.fence, error });
    },
    async confirm(lease) {
      try {
        await heartbeat.confirm(lease);
      } catch (error) {
        throw asProviderError(provider, error, `confirm ${quote(lease.name)}`);
      }
    },
    async release(lease, outcome) {
      heartbeat.remove(lease);
      releasing.add(lease);
      const answer = await giveBack(lease, outcome);
      releasing.delete(lease);
      leases.delete(lease);
      queue.freed(lease.grant.name);
      if (answer === 'released') {
        const heldMs = clock.now() - lease.acquiredAt;
        const { name, fence } = lease;
        events.emit('released', { name, provider: provider.kind, fence, outcome: outcome.result, heldMs });
      }
      return answer;
    },
  };

  /** Tells the provider, again and again while the lease is still ours: an outcome that is not recorded may be run again. */
  async function giveBack(lease: HeldLease, outcome: Outcome, retry = 0): Promise<ReleaseAnswer> {
    const known = lease.lost?.reason;
    // The claim of a run that never started is undone even if the session that carried it has ended.
    if (retry === 0 && (known === 'taken' || (known === 'session' && outcome.result !== 'abandoned'))) return 'taken';
    try {
      const ours = await calls.bounded((signal) => provider.release(lease.grant, keptOutcome(outcome), signal), {
        timeoutMs: callTimeout(settings, lease.leaseMs),
        timeoutError: () => new Error('no answer in time'),
      });
      if (ours) return lease.lost === undefined ? 'released' : 'unknown';
      // After an unknown first try, "not yours" may be the echo of its success.
      return retry === 0 ? 'taken' : 'unknown';
    } catch (error) {
      unconfirmed(lease.name, 'release', asProviderError(provider, error, `release ${quote(lease.name)}`));
    }
    const over = lease.lost !== undefined || clock.now() + RELEASE_RETRY_MS >= lease.trustedUntil;
    if (over || retry >= RELEASE_RETRIES) return 'unknown';
    await delay(RELEASE_RETRY_MS);
    return giveBack(lease, outcome, retry + 1);
  }

  /** Undoes a grant that nobody waits for any more. Never rejects: there is nobody left to catch. */
  async function giveUp(terms: Terms, grant: Grant): Promise<void> {
    try {
      await calls.bounded((signal) => provider.release(grant, { result: 'abandoned' }, signal), {
        timeoutMs: terms.callTimeoutMs,
        timeoutError: () => new Error('no answer in time'),
      });
    } catch (error) {
      unconfirmed(terms.name, 'release', asProviderError(provider, error, `release ${quote(terms.name)}`));
    }
  }

  async function attempt(terms: Terms, request: AcquireRequest, ...signals: (AbortSignal | undefined)[]): Promise<Attempt> {
    const pass = throttle.enter(terms.fullName);
    if (pass.come !== undefined) await turnOf(pass, terms, signals);
    const sentAt = clock.now();
    let result;
    let how: TryEnd = 'other';
    try {
      result = await calls.bounded((bound) => provider.tryAcquire(request, bound), {
        timeoutMs: terms.callTimeoutMs,
        signals,
        timeoutError() {
          how = 'late';
          return unanswered(terms, `no answer within ${Math.round(terms.callTimeoutMs)} ms`);
        },
        late: (answer) => void (answer.acquired && giveUp(terms, answer.grant)),
      });
      how = 'answered';
    } catch (error) {
      if (error instanceof SolorunError || signals.some((signal) => signal?.aborted === true && error === signal.reason))
        throw error;
      throw unanswered(terms, messageOf(error), error);
    } finally {
      pass.leave(how, terms.callTimeoutMs, clock.now() - sentAt);
    }
    if (result.acquired) return hold(terms, result.grant, sentAt);
    if (terms.occurrence !== undefined) schedules.found(terms, result.record?.scheduleHash, result.record?.holder);
    return result;
  }

  /** Waits until the provider may be asked, for no longer than for its answer. Nothing has been sent, so there is nothing to undo. */
  async function turnOf(pass: Pass, terms: Terms, signals: readonly (AbortSignal | undefined)[]): Promise<void> {
    try {
      await calls.bounded(() => pass.come, {
        timeoutMs: terms.callTimeoutMs,
        signals,
        timeoutError: () => unanswered(terms, 'it is too slow for all that is asked of it, and this was not sent'),
      });
    } catch (error) {
      pass.cancel();
      throw error;
    }
  }

  function unanswered(terms: Terms, detail: string, cause?: unknown): ProviderError {
    return new ProviderError(provider.kind, `acquire ${quote(terms.name)}`, detail, cause === undefined ? {} : { cause });
  }

  function hold(terms: Terms, grant: Grant, sentAt: number): Attempt | Promise<never> {
    const { leaseMs, marginMs, name, occurrence } = terms;
    const lease = new HeldLease({ name, grant, occurrence, leaseMs, marginMs, sentAt, clock }, keeper);
    if (!lease.isTrusted()) return tooLate(terms, lease);
    leases.add(lease);
    heartbeat.add(lease);
    events.emit('acquired', { name, provider: provider.kind, fence: lease.fence, occurrence: lease.occurrence });
    const { previous, previousScheduleHash } = grant;
    if (occurrence !== undefined) {
      schedules.found(terms, previousScheduleHash, undefined);
      schedules.claimed(terms);
    }
    if (occurrence !== undefined && previous !== undefined && previous.at < occurrence.at && previous.state !== 'done') {
      events.emit('missed', { name, provider: provider.kind, occurrence: previous });
    }
    return { acquired: true, lease };
  }

  /** The claim is undone: no handler was started under it. */
  async function tooLate(terms: Terms, lease: HeldLease): Promise<never> {
    await giveBack(lease, { result: 'abandoned' });
    if (lease.lost?.reason === 'session') throw unanswered(terms, lease.lost.message, lease.lost);
    throw unanswered(terms, 'the answer took longer than the lease lasts');
  }

  return {
    settings,
    events,
    queue,
    calls,
    leases,
    releasing,
    standbys: new Map(),
    riders: new Map(),
    outages: { names: new Map(), warnedAt: Number.NEGATIVE_INFINITY },
    earlyTold: new Set(),
    closing,
    request: (terms) => ({
      name: terms.fullName,
      owner: randomUUID(),
      leaseMs: terms.leaseMs,
      holder: identity,
      occurrence: terms.occurrence,
    }),
    attempt,
  };
}

/** What a provider threw, as one of our errors. */
export function asProviderError(provider: LockProvider, error: unknown, operation: string): Error {
  if (error instanceof SolorunError) return error;
  return new ProviderError(provider.kind, operation, messageOf(error), { cause: error });
}

export function throwIfClosed(core: Core): void {
  if (core.closing.signal.aborted) throw new ClosedError();
}

/** Longest error message that goes into a record, in characters. */
const MAX_ERROR_LENGTH = 500;

/** An outcome as it may be kept where others read it: short, and without credentials. */
function keptOutcome(outcome: Outcome): Outcome {
  if (outcome.result !== 'failed') return outcome;
  // The cut may go through a character of two units, and half of one has no UTF-8 form.
  return { result: 'failed', error: redact(messageOf(outcome.error)).slice(0, MAX_ERROR_LENGTH).toWellFormed() };
}
