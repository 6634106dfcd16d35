import { describe, expect, it } from 'vitest';
import { memory } from '../src/memory.ts';
import { createStage, mustAcquire, pass, silence, useFakeTime, watch } from './stage.ts';

useFakeTime();

interface Calls {
  readonly signals: readonly AbortSignal[];
  /** Gives up a third try. Its provider does not answer. */
  readonly giveUpTheThird: () => Promise<void>;
}

/** Two tries of one solo that have been answered. */
async function twoTries(forgetsSignals: boolean, onTry: (signal: AbortSignal) => void = () => {}): Promise<Calls> {
  const signals: AbortSignal[] = [];
  const { replica } = createStage((sound) => ({
    forgetsSignals,
    tryAcquire(request, signal) {
      signals.push(signal);
      onTry(signal);
      return request.name === 'three' ? silence() : sound.tryAcquire(request, signal);
    },
  }));
  const solo = replica();
  await mustAcquire(solo, 'one');
  await mustAcquire(solo, 'two');
  return {
    signals,
    async giveUpTheThird() {
      const third = watch(solo.tryAcquire('three'));
      await pass(30_000);
      expect(String(third.error)).toContain('no answer within');
      expect(signals[2]?.aborted).toBe(true);
    },
  };
}

describe('the signal of a call', () => {
  it('tells a provider that joined it nothing of another call', async () => {
    const joined: AbortSignal[] = [];
    const { giveUpTheThird } = await twoTries(false, (signal) => joined.push(AbortSignal.any([signal])));
    await giveUpTheThird();
    expect(joined.map(({ aborted }) => aborted)).toEqual([false, false, true]);
  });

  it('tells a provider that listens to it after the answer nothing of another call', async () => {
    const { signals, giveUpTheThird } = await twoTries(false);
    const told: number[] = [];
    for (const [call, signal] of signals.entries()) signal.addEventListener('abort', () => told.push(call));
    await giveUpTheThird();
    expect(told).toEqual([]);
  });

  it("is the next call's too where the provider forgets it", async () => {
    const { signals } = await twoTries(true);
    expect(signals[1]).toBe(signals[0]);
  });

  it('is kept for its call by a listener that was left behind', async () => {
    const { signals } = await twoTries(true, (signal) => signal.addEventListener('abort', () => {}));
    expect(signals[1]).not.toBe(signals[0]);
  });

  it('is forgotten by memory, and by what is spread from it', () => {
    expect({ ...memory() }.forgetsSignals).toBe(true);
  });
});
