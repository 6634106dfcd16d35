import { describe, expect, it } from 'vitest';
import { duration, parseDuration } from '../src/duration.ts';

describe('a time', () => {
  it.each([
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
  ])('%s is understood', (text, ms) => {
    expect(parseDuration(text, '--wait')).toBe(ms);
  });

  it.each(['', '5', '5 m', 's', '-5s', '5x', '30m1h', '1h1h', '1e3s', 'Infinity', '25d', ' 5s'])(
    '%j is refused, with an example',
    (text) => {
      expect(() => parseDuration(text, '--wait')).toThrow(/^--wait .*1h30m/);
    },
  );

  it('may be longer where nothing is timed', () => {
    expect(parseDuration('30d', '--interval', 3_650 * 86_400_000)).toBe(30 * 86_400_000);
    expect(() => parseDuration('3651d', '--interval', 3_650 * 86_400_000)).toThrow('3650 days are the longest');
    expect(() => parseDuration('25d', '--wait')).toThrow('24 days are the longest');
  });

  it.each([
    [0.4, '0ms'],
    [999, '999ms'],
    [1_500, '1.5s'],
    [41_000, '41s'],
    [5_400_000, '1h 30m'],
    [90_061_000, '1d 1h'],
  ])('of %s ms is shown as %s', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });
});
