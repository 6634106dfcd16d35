import { randomUUID } from 'node:crypto';
import type { Calls } from './calls.ts';
import { messageOf, ProviderError, quote, SolorunError } from './errors.ts';
import type { Events } from './events.ts';
import { HeldLease } from './held-lease.ts';
import type { Keeper } from './keeper.ts';
import type { SoloSettings, Terms } from './settle.ts';
import type { AcquireRequest, Grant, Refusal } from './provider.ts';
import { missedBefore } from './missed.ts';
import { createSchedules, type Schedules } from './schedules.ts';
import { throttleOf, type Pass, type Throttle, type TryEnd } from './throttle.ts';

/** A lease, or why there is none. */
export type Attempt = { readonly acquired: true; readonly lease: HeldLease } | Refusal;

/** Asks the provider of one solo for leases, once each. */
export class Attempts {
  readonly #settings: SoloSettings;
  readonly #events: Events;
  readonly #calls: Calls;
  readonly #keeper: Keeper;
  readonly #throttle: Throttle;
  readonly #schedules: Schedules;

  constructor(settings: SoloSettings, events: Events, calls: Calls, keeper: Keeper) {
    this.#settings = settings;
    this.#events = events;
    this.#calls = calls;
    this.#keeper = keeper;
    this.#throttle = throttleOf(settings.provider);
    this.#schedules = createSchedules(settings.provider.kind, settings.identity, events);
  }

  request({ fullName, leaseMs, occurrence, history, ignorePause }: Terms): AcquireRequest {
    return { name: fullName, owner: randomUUID(), leaseMs, holder: this.#settings.identity, occurrence, history, ignorePause };
  }

  /** Asks once. Rejects if the provider could not be asked, if its answer is too late to be trusted, or if a signal aborts. */
  async make(terms: Terms, request: AcquireRequest, ...signals: (AbortSignal | undefined)[]): Promise<Attempt> {
    const { provider, clock } = this.#settings;
    const pass = this.#throttle.enter(terms.fullName);
    if (pass.come !== undefined) await this.#turnOf(pass, terms, signals);
    const sentAt = clock.now();
    let result;
    let how: TryEnd = 'other';
    try {
      result = await this.#calls.bounded((bound) => provider.tryAcquire(request, bound), {
        timeoutMs: terms.callTimeoutMs,
        signals,
        timeoutError: () => {
          how = 'late';
          return this.#unanswered(terms, `no answer within ${Math.round(terms.callTimeoutMs)} ms`);
        },
        late: (answer) => void (answer.acquired && this.#keeper.abandon(terms, answer.grant)),
      });
      how = 'answered';
    } catch (error) {
      if (error instanceof SolorunError || signals.some((signal) => signal?.aborted === true && error === signal.reason))
        throw error;
      throw this.#unanswered(terms, messageOf(error), error);
    } finally {
      pass.leave(how, terms.callTimeoutMs, clock.now() - sentAt);
    }
    if (result.acquired) return this.#hold(terms, result.grant, sentAt);
    if (terms.occurrence !== undefined && result.record !== undefined) this.#schedules.found(terms, result.record);
    return result;
  }

  /** Waits until the provider may be asked, for no longer than for its answer. Nothing is sent yet, so nothing is to be undone. */
  async #turnOf(pass: Pass, terms: Terms, signals: readonly (AbortSignal | undefined)[]): Promise<void> {
    try {
      await this.#calls.bounded(() => pass.come, {
        timeoutMs: terms.callTimeoutMs,
        signals,
        timeoutError: () => this.#unanswered(terms, 'it is too slow for all that is asked of it, and this was not sent'),
      });
    } catch (error) {
      pass.cancel();
      throw error;
    }
  }

  #hold(terms: Terms, grant: Grant, sentAt: number): Attempt | Promise<never> {
    const { leaseMs, marginMs, name, occurrence } = terms;
    const { provider, clock } = this.#settings;
    const lease = new HeldLease({ name, grant, occurrence, leaseMs, marginMs, sentAt, clock }, this.#keeper);
    if (!lease.isTrusted()) return this.#tooLate(terms, lease);
    this.#keeper.keep(lease);
    this.#events.emit('acquired', { name, provider: provider.kind, fence: lease.fence, occurrence: lease.occurrence });
    if (occurrence !== undefined) {
      this.#schedules.found(terms, { scheduleHash: grant.previousScheduleHash, schedule: grant.previousSchedule });
      this.#schedules.claimed(terms);
      for (const missed of missedBefore(occurrence, grant, terms.timesBetween)) {
        this.#events.emit('missed', { name, provider: provider.kind, occurrence: missed });
      }
    }
    return { acquired: true, lease };
  }

  /** The claim is undone: no handler was started under it. */
  async #tooLate(terms: Terms, lease: HeldLease): Promise<never> {
    await this.#keeper.giveBack(lease, { result: 'abandoned' });
    if (lease.lost?.reason === 'session') throw this.#unanswered(terms, lease.lost.message, lease.lost);
    throw this.#unanswered(terms, 'the answer took longer than the lease lasts');
  }

  #unanswered(terms: Terms, detail: string, cause?: unknown): ProviderError {
    const { kind } = this.#settings.provider;
    return new ProviderError(kind, `acquire ${quote(terms.name)}`, detail, cause === undefined ? {} : { cause });
  }
}
