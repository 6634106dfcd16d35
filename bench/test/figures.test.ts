import { describe, expect, it } from 'vitest';
import { goals } from '../src/goals.js';
import { headline } from '../src/headline.js';
import { inTurn, oneByOne, slice } from '../src/interleaved.js';
import { compare, type Group } from '../src/result.js';
import { rows } from '../src/rows.js';
import { pictures } from '../src/scale/page.js';
import { median, quantile } from '../src/statistics.js';
import { figuresOf, forMarkdown, forTerminal, goalsOf } from '../src/table.js';

const group: Group = {
  ...{ row: 'advisory', title: 'Locks', heading: 'p50', unit: 'µs', how: 'So.', floor: 'raw' },
  lines: [
    // Slow in the second segment, as everybody is then.
    { id: 'ours', name: '`run()`', role: 'ours', value: 120, segments: [100, 1_200, 130], count: 3 },
    { id: 'raw', name: 'by hand', role: 'floor', value: 100, segments: [100, 1_000, 100], count: 3 },
    { id: 'far', name: 'far', role: 'peer', value: 900, segments: [900, 9_000, 900], count: 3 },
    { id: 'near', name: 'near', role: 'peer', value: 240, segments: [200, 2_400, 260], count: 3 },
  ],
};

describe('figures', () => {
  it('are in the middle of what was measured', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([1, 2, 3, 4])).toBe(2.5);
    expect(quantile([0, 10], 0.9)).toBe(9);
    expect(median([])).toBeNaN();
  });

  it('are compared segment by segment', () => {
    expect(compare(group, 'ours', 'raw')).toEqual({ median: 1.2, min: 1, max: 1.3 });
  });

  it('are of contenders none of whom always comes after the same other one', () => {
    const orders = [0, 1, 2, 3].map((time) => inTurn(['a', 'b', 'c'], time).map(([, name]) => name));
    expect(orders.map((order) => order.join(''))).toEqual(['abc', 'cba', 'bca', 'bac']);
    expect(inTurn(['a', 'b', 'c'], 2).map(([place]) => place)).toEqual([1, 2, 0]);
  });

  it('are refused of a contender that did not do its work', async () => {
    const idle = {
      ...({ id: 'idle', name: 'idle', role: 'ours' } as const),
      cycle: () => 'skipped',
      check: (result: unknown) => {
        throw new Error(`it ${String(result)}`);
      },
    };
    await expect(oneByOne([idle], { segments: 1, turns: 1 })).rejects.toThrow('it skipped');
    await expect(slice(idle, { ms: 1, locks: 1 })).rejects.toThrow('it skipped');
  });
});

describe('tables', () => {
  it('show ratios to the floor and their spread', () => {
    expect(forMarkdown(figuresOf(group)).split('\n').slice(0, 4)).toEqual([
      '|  | p50, µs | ÷ floor | min – max | n |',
      '|---|---:|---:|---:|---:|',
      '| `run()` | 120 | 1.20 | 1.00 – 1.30 | 3 |',
      '| by hand (floor) | 100 | 1.00 | 1.00 – 1.00 | 3 |',
    ]);
    expect(forTerminal(figuresOf(group)).split('\n')[2]).toBe('run()                120     1.20  1.00 – 1.30  3');
  });

  it('say what was reached and what was not', () => {
    expect(goalsOf([group]).rows).toEqual([['`run()` ≤ 1.25 × the raw try and unlock', 'advisory', '1.20', '✓']]);
    const slow = {
      ...group,
      lines: group.lines.map((line) => (line.id === 'ours' ? { ...line, segments: [200, 200, 200] } : line)),
    };
    expect(goalsOf([slow]).rows[0]?.slice(2)).toEqual(['2', '✗']);
  });

  it('know a row for each goal', () => {
    const names = rows.map(({ name }) => name);
    expect(goals.filter(({ row }) => !names.includes(row))).toEqual([]);
  });

  it('put the best of the others beside ours in the headline', () => {
    expect(headline([group]).split('\n')).toEqual([
      '<!-- bench:headline -->',
      '|  | Solorun | by hand | Solorun ÷ by hand | best other package | Solorun is |',
      '|---|---:|---:|---:|---:|---:|',
      '| a session lock on Postgres | **120 µs** | 100 µs | × 1.20 | 240 µs (near) | 2.00 × faster |',
      '<!-- /bench:headline -->',
    ]);
  });

  it('list all of the others in the headline where statements and sessions are counted', () => {
    const counted: Group = {
      ...{ row: 'waiters', title: 'Waiters', heading: 'sent', unit: 'statements/s', how: 'So.' },
      lines: [
        { id: 'advisory', name: 'ours', role: 'ours', value: 0.25, segments: [0.25], count: 200, also: { sessions: 2 } },
        { id: 'lease', name: 'ours', role: 'ours', value: 0.75, segments: [0.75], count: 200, also: { sessions: 1 } },
        { id: 'many', name: 'many', role: 'peer', value: 0, segments: [0], count: 200, also: { sessions: 200 } },
        { id: 'busy', name: 'busy', role: 'peer', value: 1_500, segments: [1_500], count: 200, also: { sessions: 10 } },
      ],
    };
    expect(headline([counted])).toContain(
      '| **0.25 statements/s on 2 sessions** |  |  | 0 statements/s on 200 sessions (many); 1,500 statements/s on 10 sessions (busy) |  |',
    );
  });
});

it('draws axes with their units, and a line for each curve', () => {
  const curve = (name: string): { name: string; points: { x: number; medianMs: number; p90Ms: number; perSecond: number }[] } => ({
    name,
    // None at all, too, has a place.
    points: [2, 50].map((x) => ({ x, medianMs: x, p90Ms: 2 * x, perSecond: (x - 2) / 10 })),
  });
  const curves = [curve('session locks'), curve('lease rows')];
  const drawn = pictures({ replicas: curves, names: curves });
  expect(Object.keys(drawn)).toEqual(['replicas-handoff', 'replicas-statements', 'names-handoff', 'names-statements']);
  for (const svg of Object.values(drawn)) {
    expect(svg).toMatch(/^<svg [^]*<\/svg>$/);
    for (const text of ['session locks', 'lease rows', '>2<', '>50<']) expect(svg).toContain(text);
    expect(svg).not.toContain('NaN');
  }
  expect(drawn['replicas-handoff']).toContain('hand-off (ms)');
  expect(drawn['names-statements']).toContain('statements per second');
});
