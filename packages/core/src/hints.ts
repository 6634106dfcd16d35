import { backoffDelay, settleBackoff } from './backoff.ts';
import { delay, linkAbort } from './abort.ts';
import type { Core } from './core.ts';
import type { Terms } from './settle.ts';
import type { AcquireRequest } from './provider.ts';
import type { Place } from './queue.ts';
import type { Held } from './reports.ts';

/** Polling interval of waiters that also get hints, in case one is lost, in ms. */
const SAFETY_POLL_MS = 5_000;
/** Hints may be false, over and over: one waiter heeds no more than one in this time, in ms. */
const HINT_GAP_MS = 10;
/** Polling: the ceiling of the first delay and of all later ones, in ms. */
const polling = settleBackoff({ minMs: 25, maxMs: 1_000, retries: Number.POSITIVE_INFINITY });

interface Hint {
  readonly controller: AbortController;
  readonly over: Promise<void>;
  state: 'awaited' | 'arrived' | 'used';
}

/** When the first waiter of the queue tries again: at the provider's hint, at a release in this process, or by the clock. */
export class Hints {
  readonly #core: Core;
  readonly #terms: Terms;
  readonly #stop: AbortSignal;
  #current: Hint | undefined;
  #polls = 0;
  #hintedAt = Number.NEGATIVE_INFINITY;

  /** @param stop ends the wait */
  constructor(core: Core, terms: Terms, stop: AbortSignal) {
    this.#core = core;
    this.#terms = terms;
    this.#stop = stop;
  }

  async untilWorthATry(request: AcquireRequest, held: Held, place: Place): Promise<void> {
    const { provider } = this.#core.settings;
    const pause = new AbortController();
    const unlink = linkAbort(this.#stop, pause);
    place.onFreed(() => pause.abort());
    // Just after the end of the lease, by the provider's clock, and not in step with the other waiters.
    const lapse =
      held.expiresInMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, held.expiresInMs) + 2 + Math.random() * 20;
    const clock = delay(Math.min(this.#ceiling(), lapse), pause.signal);
    await (provider.untilFree === undefined ? clock : Promise.race([this.#hintFor(request).over, clock]));
    pause.abort();
    unlink();
    place.onFreed(() => {});
  }

  /** A try begins: the hint that has arrived by now is for it. */
  trying(): void {
    if (this.#current?.state === 'arrived') this.#current.state = 'used';
  }

  /** The try was answered, and used its hint up. One that arrived meanwhile is for the next. */
  tried(): void {
    if (this.#current?.state === 'used') this.end();
  }

  end(): void {
    this.#current?.controller.abort();
    this.#current = undefined;
  }

  /** The provider may keep a place in its queue for this request, so one hint outlives the tries in between. */
  #hintFor(request: AcquireRequest): Hint {
    if (this.#current !== undefined) return this.#current;
    const { provider } = this.#core.settings;
    const controller = new AbortController();
    const over = (async () => provider.untilFree?.(request, controller.signal))().then(
      async () => {
        const tooEarlyMs = this.#hintedAt + HINT_GAP_MS - performance.now();
        if (tooEarlyMs > 0) await delay(tooEarlyMs, controller.signal);
        this.#hintedAt = performance.now();
        hint.state = 'arrived';
      },
      async (error: unknown) => {
        if (controller.signal.aborted) return;
        const { name } = this.#terms;
        this.#core.events.emit('unconfirmed', { name, provider: provider.kind, operation: 'wait', error });
        // The clock has to do for this round.
        await delay(backoffDelay(polling, (this.#polls += 1)), controller.signal);
        hint.state = 'arrived';
      },
    );
    const hint: Hint = { controller, over, state: 'awaited' };
    this.#current = hint;
    return hint;
  }

  #ceiling(): number {
    const { provider } = this.#core.settings;
    if (provider.untilFree === undefined) return backoffDelay(polling, (this.#polls += 1));
    // A server's own queue misses nothing.
    if (provider.guarantees.wakeUp === 'queue') return Number.POSITIVE_INFINITY;
    return SAFETY_POLL_MS * (0.75 + Math.random() / 2);
  }
}
