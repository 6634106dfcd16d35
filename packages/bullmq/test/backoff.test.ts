import { describe, expect, it } from 'vitest';
import { ageOf, putOffMs, settlePutOff, tryOf, type Kept } from '../src/backoff.ts';

const job = (attemptsStarted: number, attemptsMade = 0, over: Partial<Kept> = {}): Kept => ({
  attemptsStarted,
  attemptsMade,
  timestamp: Date.now(),
  opts: {},
  ...over,
});

describe('how a job is put off', () => {
  it('by a second at first, and twice as long each time, up to half a minute', () => {
    const settled = settlePutOff({ jitter: 'none' });
    const delays = [1, 2, 3, 4, 5, 6, 7, 1_000_000].map((started) => putOffMs(settled, job(started)));
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('by half of that at least, in whole milliseconds, so that there is no hot loop and no herd', () => {
    const settled = settlePutOff({ minMs: 21 });
    expect(putOffMs(settled, job(1), () => 0)).toBe(11);
    expect(putOffMs(settled, job(1), () => 0.999)).toBe(21);
    expect(putOffMs(settled, job(2), () => 0.25)).toBe(27);
    expect(() => settlePutOff({ minMs: 19 })).toThrow(/20 <= minMs/);
  });

  it('anew after a failure, as a failure is no try for the lock', () => {
    expect([tryOf(job(1)), tryOf(job(4)), tryOf(job(4, 3)), tryOf(job(0))]).toEqual([1, 4, 1, 1]);
  });

  it('until it was tried maxTries times, or was due maxAgeMs ago, whatever it waited for before', () => {
    const settled = settlePutOff({ maxTries: 3, maxAgeMs: 60_000 });
    expect([3, 4].map((started) => putOffMs(settled, job(started)) === undefined)).toEqual([false, true]);
    const old = { timestamp: Date.now() - 100_000 };
    expect(putOffMs(settled, job(1, 0, old))).toBeUndefined();
    expect(putOffMs(settled, job(1, 0, { ...old, opts: { delay: 90_000 } }))).toBeDefined();
    expect(ageOf(job(1, 0, { timestamp: 1_000, opts: { delay: 500 } }), 2_000)).toBe(500);
  });

  it.each([
    { maxMs: 10 },
    { maxMs: Infinity },
    { factor: 0.5 },
    { jitter: 'full' as never },
    { maxTries: -1 },
    { maxTries: 1.5 },
    { maxAgeMs: -1 },
  ])('is refused with %o', (options) => {
    expect(() => settlePutOff(options)).toThrow(/backoff\./);
  });
});
