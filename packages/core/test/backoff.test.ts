import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { backoffDelay, settleBackoff, type BackoffOptions } from '../src/backoff.ts';
import { OptionError } from '../src/index.ts';

describe('backoff', () => {
  it('grows by the factor and stays below its ceiling', () => {
    const backoff = settleBackoff({ minMs: 100, maxMs: 1_000, factor: 3, jitter: 'none' });
    expect([1, 2, 3, 4, 5, 1_000].map((retry) => backoffDelay(backoff, retry))).toEqual([100, 300, 900, 1_000, 1_000, 1_000]);
  });

  it('spreads delays over everything from nothing to the ceiling', () => {
    const backoff = settleBackoff({ minMs: 100, maxMs: 1_000 });
    expect(backoffDelay(backoff, 3, () => 0)).toBe(0);
    expect(backoffDelay(backoff, 3, () => 0.5)).toBe(200);
    expect(backoffDelay(backoff, 3, () => 0.999)).toBeLessThan(400);
  });

  it('is never negative, never above maxMs and never not a number, for whatever options it accepts', () => {
    const options = fc.record({
      minMs: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
      maxMs: fc.double({ min: 1e6, max: 1e9, noNaN: true }),
      factor: fc.double({ min: 1, max: 1e6, noNaN: true }),
      jitter: fc.constantFrom('full' as const, 'none' as const),
    });
    fc.assert(
      fc.property(options, fc.integer({ min: 1, max: 1e6 }), fc.double({ min: 0, max: 1, noNaN: true }), (given, retry, random) => {
        const ms = backoffDelay(settleBackoff(given), retry, () => random);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(given.maxMs);
      }),
    );
  });

  it('has defaults, and cannot be changed once settled', () => {
    const backoff = settleBackoff();
    expect(backoff).toEqual({ retries: 5, minMs: 100, maxMs: 10_000, factor: 2, jitter: 'full' });
    expect(Object.isFrozen(backoff)).toBe(true);
  });

  it.each<BackoffOptions>([
    { retries: -1 },
    { retries: 1.5 },
    { retries: Number.NaN },
    { minMs: 0 },
    { minMs: -1 },
    { minMs: Number.NaN },
    { minMs: 20_000 },
    { maxMs: Number.POSITIVE_INFINITY },
    { maxMs: Number.NaN },
    { factor: 0.5 },
    { factor: Number.NaN },
    { factor: Number.POSITIVE_INFINITY },
    { jitter: 'some' as never },
  ])('refuses what makes no sense: %o', (options) => {
    expect(() => settleBackoff(options)).toThrow(OptionError);
  });

  it('may go on for ever', () => {
    expect(settleBackoff({ retries: Number.POSITIVE_INFINITY }).retries).toBe(Number.POSITIVE_INFINITY);
  });
});
