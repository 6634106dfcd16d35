import { describe, expect, it } from 'vitest';
import type { Outcome } from '../src/index.ts';
import { createThrottle } from '../src/throttle.ts';
import { createStage, pass, settle, silence, timersLeft, useFakeTime, watch } from './stage.ts';

describe('a throttle', () => {
  it('lets everything pass while answers come in time', () => {
    const throttle = createThrottle();
    for (let n = 0; n < 10_000; n += 1) expect(throttle.enter()).toBeUndefined();
    for (let n = 0; n < 10_000; n += 1) throttle.leave('answered', 1_000, 500);
    for (let n = 0; n < 10_000; n += 1) expect(throttle.enter()).toBeUndefined();
  });

  it('halves what is under way when an answer is late, once for all that were sent together, and lets it grow with each answer', () => {
    let now = 0;
    const throttle = createThrottle(() => now);
    const enter = (): boolean => {
      const turn = throttle.enter();
      turn?.cancel();
      return turn === undefined;
    };
    for (let n = 0; n < 8; n += 1) throttle.enter();
    for (let n = 0; n < 8; n += 1) throttle.leave('late', 1_000, 500);
    expect(Array.from({ length: 6 }, enter)).toEqual([true, true, true, true, false, false]);
    now = 1_000;
    for (let n = 0; n < 4; n += 1) throttle.leave('late', 1_000, 500);
    expect(Array.from({ length: 4 }, enter)).toEqual([true, true, false, false]);
    // One more for as many answers, and later one for each of them.
    for (let n = 0; n < 2; n += 1) throttle.leave('answered', 1_000, 500);
    expect(Array.from({ length: 4 }, enter)).toEqual([true, true, false, false]);
    throttle.leave('answered', 1_000, 500);
    expect(Array.from({ length: 4 }, enter)).toEqual([true, true, false, false]);
    now = 11_000;
    throttle.leave('answered', 1_000, 501);
    throttle.leave('answered', 1_000, 500);
    // Trouble of another kind changes nothing.
    throttle.leave('other', 1_000, 500);
    expect(Array.from({ length: 5 }, enter)).toEqual([true, true, true, true, false]);
  });

  it('is first come, first served, and never closes altogether', async () => {
    const throttle = createThrottle(() => 0);
    throttle.enter();
    throttle.leave('late', 1_000, 500);
    expect(throttle.enter()).toBeUndefined();
    const order: string[] = [];
    const turns = ['a', 'b', 'c'].map((name) => {
      const turn = throttle.enter()!;
      void turn.come.then(() => order.push(name));
      return turn;
    });
    turns[0]!.cancel();
    throttle.leave('other', 1_000, 500);
    await Promise.resolve();
    expect(order).toEqual(['b']);
    // One whose turn had come and who is gone lets the next one pass.
    turns[1]!.cancel();
    await Promise.resolve();
    expect(order).toEqual(['b', 'c']);
  });
});

describe('a server that has too much to do', () => {
  useFakeTime();

  /** It does one thing after the other, also what nobody waits for any more. */
  function overloaded(): { stage: ReturnType<typeof createStage>; takes: (ms: number) => void } {
    let takesMs = 0;
    let before: Promise<unknown> = Promise.resolve();
    const inTurn = <T>(work: () => T | Promise<T>): Promise<T> => {
      const ms = takesMs;
      const turn = before.then(() => new Promise((resolve) => setTimeout(resolve, ms))).then(work);
      before = turn.catch(() => {});
      return turn;
    };
    const never = new AbortController().signal;
    const stage = createStage((sound) => ({
      tryAcquire: (request) => inTurn(() => sound.tryAcquire(request, never)),
      renew: (grant) => inTurn(() => sound.renew(grant, never)),
      release: (grant, outcome: Outcome) => inTurn(() => sound.release(grant, outcome, never)),
    }));
    return { stage, takes: (ms) => void (takesMs = ms) };
  }

  it('still does what it can, and all of it again once it has time', async () => {
    const { stage, takes } = overloaded();
    const solo = stage.replica({ leaseMs: 2_000 });
    let done = 0;
    let asked = 0;
    const ask = (): void => {
      asked += 1;
      solo.run(`job ${asked}`, () => void (done += 1)).catch(() => {});
    };
    // A run is a try and a release: it can do 5 a second, and 40 are asked of it.
    takes(100);
    for (let seconds = 0; seconds < 60; seconds += 1) {
      if (seconds === 30) done = 0;
      for (let n = 0; n < 40; n += 1) {
        ask();
        await pass(25);
      }
    }
    // 150 in half a minute are as many as it can.
    expect(done).toBeGreaterThan(100);
    takes(1);
    await pass(4_000);
    done = 0;
    for (let n = 0; n < 200; n += 1) {
      ask();
      await pass(25);
    }
    await pass(1_000);
    expect(done).toBeGreaterThan(195);
    expect(await timersLeft()).toBe(0);
  });

  it('is not sent what would come too late anyway, and the caller is told so', async () => {
    const { replica, asked } = createStage(() => ({ tryAcquire: silence }));
    const solo = replica({ leaseMs: 2_000 });
    const first = Array.from({ length: 4 }, (_, n) => watch(solo.run(`job ${n}`, () => {})));
    await pass(1_900);
    expect(first.map(({ state }) => state)).toEqual(['rejected', 'rejected', 'rejected', 'rejected']);
    const second = Array.from({ length: 4 }, (_, n) => watch(solo.run(`job ${n}`, () => {})));
    await settle();
    expect(asked('tryAcquire')).toBe(4 + 2);
    await pass(1_900);
    expect(second.map(({ error }) => (error as Error).message)).toEqual([
      'memory: cannot acquire "job 0": no answer within 1900 ms',
      'memory: cannot acquire "job 1": no answer within 1900 ms',
      expect.stringMatching(/too slow|no answer/),
      expect.stringMatching(/too slow|no answer/),
    ]);
  });
});
