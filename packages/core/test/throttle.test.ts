import { describe, expect, it } from 'vitest';
import type { Outcome } from '../src/index.ts';
import { Throttle, type Pass, type TryEnd } from '../src/throttle.ts';
import { createStage, pass, settle, silence, timersLeft, useFakeTime, watch } from './stage.ts';

describe('a throttle', () => {
  /** How many more tries of this name may be sent now. */
  const room = (throttle: Throttle, name = 'job'): number => {
    const passes: Pass[] = [];
    for (;;) {
      const one = throttle.enter(name);
      passes.push(one);
      if (one.come !== undefined || passes.length > 20_000) break;
    }
    for (const one of passes) {
      if (one.come === undefined) one.leave('other', 1_000, 0);
      else one.cancel();
    }
    return passes.length - 1;
  };
  const enter = (throttle: Throttle, count: number): Pass[] => Array.from({ length: count }, (_, n) => throttle.enter(`job ${n}`));
  const leave = (passes: readonly Pass[], end: TryEnd, tookMs = 500): void => {
    for (const one of passes) one.leave(end, 1_000, tookMs);
  };

  it('lets everything pass while answers come in time', () => {
    const throttle = new Throttle();
    leave(enter(throttle, 10_000), 'answered');
    expect(room(throttle)).toBe(20_000);
  });

  it('halves what is under way when answers are late, once for all that were sent together, and lets it grow with each answer', () => {
    let now = 0;
    const throttle = new Throttle(() => now);
    leave(enter(throttle, 16), 'late');
    expect(room(throttle)).toBe(8);
    now = 1_000;
    const next = Array.from({ length: 8 }, () => throttle.enter('well'));
    leave(next, 'late');
    expect(room(throttle)).toBe(4);
    // One more for as many answers, and later one for each of them.
    const answer = (count: number, tookMs = 500): void =>
      leave(
        Array.from({ length: count }, () => throttle.enter('other')),
        'answered',
        tookMs,
      );
    answer(4);
    expect(room(throttle)).toBe(4);
    answer(1);
    expect(room(throttle)).toBe(5);
    now = 12_000;
    answer(1, 501);
    answer(1, 500);
    // Trouble of another kind changes nothing.
    leave([throttle.enter('other')], 'other');
    expect(room(throttle)).toBe(6);
  });

  it('takes no offence at late answers while many more come in time', () => {
    let now = 0;
    const throttle = new Throttle(() => now);
    for (; now < 20_000; now += 500) {
      leave(enter(throttle, 10), 'answered');
      leave([throttle.enter('hung'), throttle.enter('mute')], 'late');
    }
    expect(room(throttle)).toBe(20_000);
  });

  it('has half of its places for names whose last answer was not late', () => {
    const throttle = new Throttle(() => 0);
    leave(enter(throttle, 16), 'late');
    expect(room(throttle, 'job 1')).toBe(4);
    for (let n = 0; n < 9; n += 1) throttle.enter(`job ${n}`);
    expect(room(throttle, 'well')).toBe(4);
    // An answer makes up for it.
    throttle.enter('job 15').leave('answered', 1_000, 10);
    expect(room(throttle, 'job 15')).toBe(4);
  });

  it('is first come, first served, and never closes altogether', async () => {
    const throttle = new Throttle(() => 0);
    leave([throttle.enter('late')], 'late');
    throttle.enter('one');
    const second = throttle.enter('two');
    expect(second.come).toBeUndefined();
    const order: string[] = [];
    const passes = ['a', 'b', 'c'].map((name) => {
      const one = throttle.enter(name);
      void one.come?.then(() => order.push(name));
      return one;
    });
    passes[0]!.cancel();
    second.leave('other', 1_000, 500);
    await Promise.resolve();
    expect(order).toEqual(['b']);
    // One whose turn had come and who is gone lets the next one pass.
    passes[1]!.cancel();
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
    // Two, and one of them for names whose last answer was late.
    expect(asked('tryAcquire')).toBe(4 + 1);
    await pass(1_900);
    expect(second.map(({ error }) => (error as Error).message)).toEqual([
      'memory: cannot acquire "job 0": no answer within 1900 ms',
      expect.stringMatching(/too slow|no answer/),
      expect.stringMatching(/too slow|no answer/),
      expect.stringMatching(/too slow|no answer/),
    ]);
  });

  it('keeps no name from its answers, whose server is well, while many others hang', async () => {
    const stage = createStage((sound) => ({
      tryAcquire: (request, signal) => (request.name.startsWith('hung') ? silence() : sound.tryAcquire(request, signal)),
    }));
    const solo = stage.replica({ leaseMs: 2_000 });
    for (let n = 0; n < 30; n += 1) watch(solo.run(`hung ${n}`, () => {}, { onBusy: 'wait', waitMs: Number.POSITIVE_INFINITY }));
    let done = 0;
    for (let n = 0; n < 200; n += 1) {
      watch(solo.run('well', () => void (done += 1)));
      await pass(100);
    }
    expect(done).toBe(200);
    const closed = watch(solo.close());
    await pass(60_000);
    expect(closed.state).toBe('resolved');
  });
});
