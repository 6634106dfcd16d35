import { describe, expect, it } from 'vitest';
import { isEnough, putOffMs, settlePutOff } from '../src/backoff.ts';
import type { Spell } from '../src/spell.ts';

describe('how a job is put off', () => {
  it('by a second at first, and twice as long each time, up to half a minute', () => {
    const settled = settlePutOff({ jitter: 'none' });
    const delays = [1, 2, 3, 4, 5, 6, 7, 1_000_000].map((nth) => putOffMs(settled, nth));
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('by half of that at least, in whole milliseconds, so that there is no hot loop and no herd', () => {
    const settled = settlePutOff({ minMs: 21 });
    expect(putOffMs(settled, 1, () => 0)).toBe(11);
    expect(putOffMs(settled, 1, () => 0.999)).toBe(21);
    expect(putOffMs(settled, 2, () => 0.25)).toBe(27);
    expect(() => settlePutOff({ minMs: 19 })).toThrow(/20 <= minMs/);
  });

  it('until it was tried maxTries times, or was put off first maxAgeMs ago', () => {
    const settled = settlePutOff({ maxTries: 3, maxAgeMs: 60_000 });
    const spell = (tries: number, ageMs: number): Spell => ({ tries, since: 1_000_000 - ageMs, start: 1, failures: 0, stalls: 0 });
    const over = [spell(3, 60_000), spell(4, 0), spell(1, 60_001)].map((each) => isEnough(settled, each, 1_000_000));
    expect(over).toEqual([false, true, true]);
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
