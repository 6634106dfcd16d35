import { describe, expect, it } from 'vitest';
import { holderOf, named, plain } from '../src/show.ts';

describe("somebody else's text", () => {
  it.each([
    ['\u001b[2J', String.raw`\e[2J`],
    ['a\nb\r\tc', String.raw`a\nb\r\tc`],
    ['\u009b31m', String.raw`\u{9b}31m`],
    ['\u202egnp.exe', String.raw`\u{202e}gnp.exe`],
    ['a\u2028b', String.raw`a\u{2028}b`],
    ['👩‍💻 ü', '👩‍💻 ü'],
  ])('%j is shown as %j', (text, shown) => {
    expect(plain(text)).toBe(shown);
  });

  it('is shortened in a sentence', () => {
    expect(named('x'.repeat(500))).toBe(`"${'x'.repeat(79)}…"`);
  });

  it('tells a holder as far as it is known', () => {
    expect(holderOf(undefined)).toBe('somebody unknown');
    expect(holderOf({ host: 'a\u001b', pid: 1, label: 'web' })).toBe(String.raw`web@a\e (pid 1)`);
  });
});
