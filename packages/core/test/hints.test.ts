import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { Core } from '../src/core.ts';
import { Hints } from '../src/hints.ts';
import { ofTryAcquire } from '../src/known-options.ts';
import type { AcquireRequest, LockProvider, SoloEvents } from '../src/index.ts';
import { memory } from '../src/memory.ts';
import { settleSolo, settleTerms } from '../src/settle.ts';
import type { Place } from '../src/queue.ts';
import type { Held } from '../src/reports.ts';
import { deferred, pass, settle, silence, timersLeft, useFakeTime, watch } from './stage.ts';

useFakeTime();

const held: Held = { acquired: false, reason: 'held' };

interface Waiting {
  readonly core: Core;
  readonly hints: Hints;
  readonly place: Place;
  readonly request: AcquireRequest;
  readonly stop: AbortController;
  /** One pause of the waiter. */
  readonly pause: (refusal?: Held) => { readonly state: 'pending' | 'resolved' | 'rejected' };
}

/** The first waiter in the queue of a name, at a provider that hints in this way. */
function waiting(verbs: Partial<LockProvider> = {}): Waiting {
  const provider = { ...memory(), ...verbs };
  const core = new Core(settleSolo({ provider }));
  const terms = settleTerms(core.settings, 'job', {}, ofTryAcquire);
  const stop = new AbortController();
  const hints = new Hints(core, terms, stop.signal);
  const place = core.queue.enter('job');
  const request = core.attempts.request(terms);
  const pause: Waiting['pause'] = (refusal = held) => watch(hints.untilWorthATry(request, refusal, place));
  return { core, hints, place, request, stop, pause };
}

/** A provider that hints when the test says so. */
function hinting(wakeUp: 'push' | 'queue' = 'push'): {
  verbs: Partial<LockProvider>;
  readonly hint: () => void;
  signals: AbortSignal[];
} {
  const signals: AbortSignal[] = [];
  let answer = deferred();
  return {
    signals,
    hint: () => answer.resolve(),
    verbs: {
      guarantees: { ...memory().guarantees, wakeUp },
      untilFree(_, signal) {
        signals.push(signal);
        answer = deferred();
        return answer.promise;
      },
    },
  };
}

/** How long a pause takes, to the millisecond. */
async function duration(pause: { readonly state: string }): Promise<number> {
  await settle();
  for (let ms = 0; ms < 100_000; ms += 1) {
    if (pause.state === 'resolved') return ms;
    await pass(1);
  }
  return Number.POSITIVE_INFINITY;
}

/** No hint is taken from `memory()`, which has them. */
const unhinted = { untilFree: undefined } as unknown as Partial<LockProvider>;

describe('without hints', () => {
  it('polls, with a ceiling that doubles from 25 ms to a second', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const { pause } = waiting(unhinted);
    const took: number[] = [];
    for (let poll = 0; poll < 8; poll += 1) took.push(await duration(pause()));
    expect(took).toEqual([25, 50, 100, 200, 400, 800, 1_000, 1_000]);
    expect(await timersLeft()).toBe(0);
  });

  it.each([
    [0, 502],
    [1, 522],
  ])('tries just after the lease ends: with chance at %d, %d ms later for one that ends in 500 ms', async (chance, ms) => {
    const { pause } = waiting(hinting('queue').verbs);
    vi.spyOn(Math, 'random').mockReturnValue(chance);
    expect(await duration(pause({ ...held, expiresInMs: 500 }))).toBe(ms);
  });
});

describe('a hint', () => {
  it('ends the pause', async () => {
    const { verbs, hint } = hinting();
    const paused = waiting(verbs).pause();
    await pass(1_000);
    expect(paused.state).toBe('pending');
    hint();
    await settle();
    expect(paused.state).toBe('resolved');
  });

  it.each([
    [0, 3_750],
    [1, 6_250],
  ])('may be lost, so the waiter polls: with chance at %d, after %d ms', async (chance, ms) => {
    const { pause } = waiting(hinting().verbs);
    vi.spyOn(Math, 'random').mockReturnValue(chance);
    expect(await duration(pause())).toBe(ms);
  });

  it('is waited for without polling where a server keeps the queue', async () => {
    const paused = waiting(hinting('queue').verbs).pause();
    await pass(86_400_000);
    expect(paused.state).toBe('pending');
  });

  it('is asked for once, however often the waiter polls until it comes, and used up by the next try', async () => {
    const { verbs, hint, signals } = hinting();
    const { hints, pause } = waiting(verbs);
    for (let poll = 0; poll < 3; poll += 1) {
      await duration(pause());
      hints.trying();
      hints.tried();
    }
    expect(signals).toHaveLength(1);
    hint();
    await duration(pause());
    hints.trying();
    hints.tried();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    pause();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  });

  it('is for the next try if it comes during one', async () => {
    const { verbs, hint, signals } = hinting();
    const { hints, pause } = waiting(verbs);
    await duration(pause());
    hints.trying();
    hint();
    await settle();
    hints.tried();
    expect(await duration(pause())).toBe(0);
    expect(signals).toHaveLength(1);
  });

  it('may be false over and over, and is heeded once in 10 ms', async () => {
    const { hints, pause } = waiting({ ...hinting().verbs, untilFree: async () => {} });
    const took: number[] = [];
    for (let hint = 0; hint < 4; hint += 1) {
      took.push(await duration(pause()));
      hints.trying();
      hints.tried();
    }
    expect(took).toEqual([0, 10, 10, 10]);
  });

  it('that the provider cannot give is reported, and the waiter polls', async () => {
    const cause = new Error('ECONNREFUSED');
    const { core, hints, pause } = waiting({ ...hinting().verbs, untilFree: () => Promise.reject(cause) });
    vi.spyOn(Math, 'random').mockReturnValue(1);
    const reported: SoloEvents['unconfirmed'][] = [];
    core.events.on('unconfirmed', (detail) => reported.push(detail));
    const took: number[] = [];
    for (let poll = 0; poll < 3; poll += 1) {
      took.push(await duration(pause()));
      hints.trying();
      hints.tried();
    }
    expect(took).toEqual([25, 50, 100]);
    expect(reported).toEqual(took.map(() => ({ name: 'job', provider: 'memory', operation: 'wait', error: cause })));
  });
});

describe('a pause', () => {
  it('ends when the name comes free in this process', async () => {
    const { core, pause } = waiting({ untilFree: silence });
    const paused = pause();
    core.queue.freed('job');
    await settle();
    expect(paused.state).toBe('resolved');
  });

  it('ends with the wait, and leaves neither a timer nor a listener', async () => {
    const { verbs, signals } = hinting();
    const { hints, pause, stop } = waiting(verbs);
    const paused = pause();
    stop.abort();
    await settle();
    expect(paused.state).toBe('resolved');
    hints.end();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    expect(await timersLeft()).toBe(0);
  });
});
