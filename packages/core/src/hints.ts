import { backoffDelay, settleBackoff } from './backoff.ts';
import { delay, linkAbort } from './abort.ts';
import type { Core } from './core.ts';
import type { Terms } from './options.ts';
import type { AcquireRequest, Refusal } from './provider.ts';
import type { Place } from './queue.ts';

export type Held = Extract<Refusal, { reason: 'held' }>;

/** Without a word from the provider, try again after at most this long, in ms. */
const SAFETY_POLL_MS = 5_000;
/** Hints may be false, over and over: one waiter heeds no more than one in this time, in ms. */
const HINT_GAP_MS = 10;
/** Polling: the ceiling of the first delay and of all later ones, in ms. */
const polling = settleBackoff({ minMs: 25, maxMs: 1_000, retries: Number.POSITIVE_INFINITY });

/** What ends a wait at the head of the line: the provider's hint, a release in this process, or the clock. */
export interface Hints {
  untilWorthATry(request: AcquireRequest, held: Held, place: Place): Promise<void>;
  /** A try begins: the hint that has arrived by now is for it. */
  trying(): void;
  /** The try was answered, and used its hint up. One that arrived meanwhile is for the next. */
  tried(): void;
  end(): void;
}

interface Hint {
  readonly controller: AbortController;
  readonly over: Promise<void>;
  state: 'awaited' | 'arrived' | 'used';
}

export function createHints(core: Core, terms: Terms, stop: AbortSignal): Hints {
  const { provider } = core.settings;
  let current: Hint | undefined;
  let polls = 0;
  let hintedAt = Number.NEGATIVE_INFINITY;

  /** The provider may keep a place in its queue for this request, so one hint outlives the looks in between. */
  function hintFor(request: AcquireRequest): Hint {
    if (current !== undefined) return current;
    const controller = new AbortController();
    const over = (async () => provider.untilFree?.(request, controller.signal))().then(
      async () => {
        const tooEarlyMs = hintedAt + HINT_GAP_MS - performance.now();
        if (tooEarlyMs > 0) await delay(tooEarlyMs, controller.signal);
        hintedAt = performance.now();
        hint.state = 'arrived';
      },
      async (error: unknown) => {
        if (controller.signal.aborted) return;
        core.events.emit('unconfirmed', { name: terms.name, provider: provider.kind, operation: 'wait', error });
        // The clock has to do for this round.
        await delay(backoffDelay(polling, (polls += 1)), controller.signal);
        hint.state = 'arrived';
      },
    );
    const hint: Hint = { controller, over, state: 'awaited' };
    current = hint;
    return hint;
  }

  function ceiling(): number {
    if (provider.untilFree === undefined) return backoffDelay(polling, (polls += 1));
    // A server's own queue misses nothing.
    if (provider.guarantees.wakeUp === 'queue') return Number.POSITIVE_INFINITY;
    return SAFETY_POLL_MS * (0.75 + Math.random() / 2);
  }

  function end(): void {
    current?.controller.abort();
    current = undefined;
  }

  return {
    async untilWorthATry(request, held, place) {
      const look = new AbortController();
      const unlink = linkAbort(stop, look);
      place.onFreed(() => look.abort());
      // Just after the end of the lease, by the provider's clock, and not in step with the other waiters.
      const lapse =
        held.expiresInMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, held.expiresInMs) + 2 + Math.random() * 20;
      const clock = delay(Math.min(ceiling(), lapse), look.signal);
      await (provider.untilFree === undefined ? clock : Promise.race([hintFor(request).over, clock]));
      look.abort();
      unlink();
      place.onFreed(() => {});
    },
    trying() {
      if (current?.state === 'arrived') current.state = 'used';
    },
    tried() {
      if (current?.state === 'used') end();
    },
    end,
  };
}
