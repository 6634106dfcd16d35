import { describe, expect, it } from 'vitest';
import { createOutlasted } from '../../src/server/outlasted.ts';

describe('leases that are observed', () => {
  it('finds a lease over that stood unchanged for as long as it lasts', () => {
    let now = 0;
    const outlasted = createOutlasted(() => now);
    expect(outlasted.isOver('job', 'a', 1_000)).toBe(false);
    now = 999;
    expect(outlasted.isOver('job', 'a', 1_000)).toBe(false);
    now = 1_000;
    expect(outlasted.isOver('job', 'a', 1_000)).toBe(true);
  });

  it('begins anew with each change, and for each name by itself', () => {
    let now = 0;
    const outlasted = createOutlasted(() => now);
    outlasted.isOver('job', 'a', 1_000);
    outlasted.isOver('other', 'a', 1_000);
    now = 900;
    expect(outlasted.isOver('job', 'b', 1_000)).toBe(false);
    now = 1_500;
    expect(outlasted.isOver('job', 'b', 1_000)).toBe(false);
    expect(outlasted.isOver('other', 'a', 1_000)).toBe(true);
    outlasted.forget('other');
    expect(outlasted.isOver('other', 'a', 1_000)).toBe(false);
  });

  it('observes many names at once, though they are asked for one after the other, and drops those that changed first', () => {
    let now = 0;
    const outlasted = createOutlasted(() => now);
    const over = (count: number): number => {
      let found = 0;
      for (let n = 0; n < count; n += 1) found += outlasted.isOver(`job ${n}`, 'a', 1_000) ? 1 : 0;
      return found;
    };
    expect(over(50_000)).toBe(0);
    now = 2_000;
    expect(over(50_000)).toBe(50_000);
    for (let n = 50_000; n <= 100_000; n += 1) outlasted.isOver(`job ${n}`, 'a', 1_000);
    expect(outlasted.isOver('job 1', 'a', 1_000)).toBe(true);
    expect(outlasted.isOver('job 0', 'a', 1_000)).toBe(false);
  });
});
