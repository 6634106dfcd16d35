import { stripVTControlCharacters } from 'node:util';
import { expect, it } from 'vitest';
import type { Entry } from '../src/journal.js';
import { createPicture } from '../src/picture.js';

const canvas = { columns: 80, rows: 24, color: false, unicode: true };

/** Twelve seconds in which replica-1 runs, is killed at the second and replaced by replica-2. */
function draw(options: Partial<typeof canvas> = {}): string[] {
  const picture = createPicture({ attempts: 3, intervalMs: 1_000, seconds: 25, store: 'file:/locks' });
  let fence = 0;
  const tell = (entry: Record<string, unknown>): void => picture.add({ at: fence * 1_000, ...entry } as Entry);
  for (let second = 0; second < 12; second += 1) {
    const tick = new Date(Date.UTC(2025, 0, 1, 3, 0, second)).toISOString();
    fence += 1;
    tell({ event: 'start', replica: 'replica-1', tick, fence: String(fence), attempt: 1 });
    if (second === 1) {
      picture.mark('killed', 'replica-1', tick);
      fence += 1;
      tell({ event: 'start', replica: 'replica-2', tick, fence: String(fence), attempt: 2 });
      tell({ event: 'end', replica: 'replica-2', tick, fence: String(fence), attempt: 2, result: 'done' });
      picture.say(1.5, 'replica-2 took over.', 'good');
    } else {
      tell({ event: 'end', replica: 'replica-1', tick, fence: String(fence), attempt: 1, result: 'done' });
      tell({ event: 'skipped', replica: 'replica-2', tick, reason: 'done' });
    }
  }
  return picture.draw(12, { ...canvas, ...options });
}

it('has a row for each replica and a column for each tick', () => {
  const text = draw();
  expect(text.find((line) => line.includes('replica-1'))).toContain('● × ● ● ● ● ● ● ● ● ● ●');
  expect(text.find((line) => line.includes('replica-2'))).toContain('· ◆ · · · · · · · · · ·');
  expect(text.find((line) => line.includes('tick'))).toMatch(/:00 {7}:05 {7}:10 .* 12 s of 25 s$/);
  expect(text.join('\n')).toContain('runs 13 · duplicates 0 · overlaps 0 · recovered 1');
});

it.each([24, 40, 60, 80, 200])('fits %i columns', (columns) => {
  for (const line of draw({ columns })) expect(line.length).toBeLessThanOrEqual(Math.max(24, columns - 1));
});

it('shows the last ticks where there is no room for all', () => {
  const row = draw({ columns: 30 }).find((line) => line.includes('replica-2'));
  expect(row).toMatch(/^ replica-2 {2}· · · ·/);
  expect(row).not.toContain('◆');
});

it('tells less where there are few rows', () => {
  expect(draw({ rows: 24 }).join('\n')).toContain('took over.');
  const few = draw({ rows: 10 });
  expect(few.length).toBeLessThan(10);
  expect(few.join('\n')).not.toContain('took over.');
});

it('colours nothing but the same text', () => {
  const coloured = draw({ color: true });
  expect(coloured.join('')).toContain('\u001B[32m');
  expect(coloured.map((line) => stripVTControlCharacters(line))).toEqual(draw());
});

it('does without symbols in a terminal that has none', () => {
  expect(draw({ unicode: false }).find((line) => line.includes('replica-1'))).toContain('O x O O');
});
