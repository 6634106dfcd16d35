import { describe, expect, it } from 'vitest';
import type { Entry, Result } from '../src/journal.js';
import { runsOf, summarize } from '../src/summary.js';

const TICK = Date.parse('2025-01-01T03:00:00.000Z');
const schedule = { attempts: 3, intervalMs: 1_000 };

interface Told {
  readonly replica?: string;
  /** The n-th second. */
  readonly tick?: number;
  readonly fence: number;
  readonly attempt?: number;
  readonly from: number;
  /** When each step was taken. */
  readonly steps?: readonly number[];
  /** When and how it ended; never, for a replica that was killed. */
  readonly end?: readonly [at: number, result: Result];
}

/** The lines that a replica writes of one run. */
function run({ replica = 'replica-1', tick = 0, fence, attempt = 1, from, steps = [], end }: Told): Entry[] {
  const about = { replica, tick: new Date(TICK + tick * 1_000).toISOString(), fence: String(fence), attempt };
  return [
    { event: 'start', at: from, ...about },
    ...steps.map((at): Entry => ({ event: 'step', at, step: 'pack', ...about })),
    ...(end === undefined ? [] : [{ event: 'end', at: end[0], result: end[1], ...about } satisfies Entry]),
  ];
}

function skipped(replica: string, tick: number, at: number): Entry {
  return { event: 'skipped', replica, at, tick: new Date(TICK + tick * 1_000).toISOString(), reason: 'done' };
}

describe('a fleet in order', () => {
  const entries = [
    ...run({ fence: 1, from: 0, steps: [100, 200], end: [300, 'done'] }),
    skipped('replica-2', 0, 301),
    ...run({ replica: 'replica-2', tick: 1, fence: 2, from: 1_000, end: [1_300, 'done'] }),
    skipped('replica-1', 1, 1_301),
  ];

  it('counts ticks, runs and skips, and finds nothing wrong', () => {
    expect(summarize(entries, schedule)).toMatchObject({
      ticks: 2,
      done: 2,
      skipped: 2,
      recovered: [],
      missed: [],
      duplicates: [],
      overlaps: [],
      disorder: [],
    });
  });

  it('gives the same in whatever order the journals are read', () => {
    expect(summarize(entries.toReversed(), schedule)).toEqual(summarize(entries, schedule));
  });

  it('counts ticks that nobody wrote of, as missed', () => {
    const later = run({ tick: 4, fence: 3, from: 4_000, end: [4_300, 'done'] });
    expect(summarize([...entries, ...later], schedule)).toMatchObject({
      ticks: 5,
      missed: ['2025-01-01T03:00:02.000Z', '2025-01-01T03:00:03.000Z'],
    });
  });

  it('has nothing to say of empty journals', () => {
    expect(summarize([], schedule)).toMatchObject({ ticks: 0, runs: [], duplicates: [], overlaps: [] });
  });
});

describe('a killed replica', () => {
  const killed = run({ fence: 1, from: 0, steps: [100, 200] });

  it('is recovered by a later attempt, which is no duplicate and no overlap', () => {
    const heir = run({ replica: 'replica-2', fence: 2, attempt: 2, from: 290, end: [600, 'done'] });
    expect(summarize([...killed, ...heir], schedule)).toMatchObject({
      done: 1,
      recovered: ['2025-01-01T03:00:00.000Z'],
      missed: [],
      duplicates: [],
      overlaps: [],
    });
  });

  it('is recovered also if it died after publishing, so that the heir finds the work done', () => {
    const heir = run({ replica: 'replica-2', fence: 2, attempt: 2, from: 290, end: [300, 'found'] });
    expect(summarize([...killed, ...heir], schedule)).toMatchObject({
      done: 0,
      recovered: { length: 1 },
      missed: [],
      duplicates: [],
    });
  });

  it('overlaps with an heir that started while it still took steps', () => {
    const heir = run({ replica: 'replica-2', fence: 2, attempt: 2, from: 150, end: [600, 'done'] });
    expect(summarize([...killed, ...heir], schedule).overlaps).toEqual([
      expect.stringContaining('replica-2 (tick 03:00:00, attempt 2, fence 2) started while replica-1'),
    ]);
  });

  it('leaves a tick missed that nobody took over', () => {
    expect(summarize(killed, schedule)).toMatchObject({ recovered: [], missed: ['2025-01-01T03:00:00.000Z'] });
  });
});

describe('a frozen replica', () => {
  const heir = run({ replica: 'replica-2', fence: 2, attempt: 2, from: 2_100, steps: [2_200], end: [2_500, 'done'] });

  it('ends with its last step, however late it wakes and says that its lease was lost', () => {
    const frozen = run({ fence: 1, from: 0, steps: [100], end: [2_300, 'lost'] });
    expect(runsOf(frozen)).toMatchObject([{ startedAt: 0, endedAt: 100, result: 'lost' }]);
    expect(summarize([...frozen, ...heir], schedule)).toMatchObject({ recovered: { length: 1 }, duplicates: [], overlaps: [] });
  });

  it('overlaps if it took another step after it woke', () => {
    const frozen = run({ fence: 1, from: 0, steps: [100, 2_301], end: [2_302, 'lost'] });
    expect(summarize([...frozen, ...heir], schedule).overlaps).toHaveLength(1);
  });

  it('is a duplicate and an overlap if it went on to the end', () => {
    const frozen = run({ fence: 1, from: 0, steps: [100, 2_301], end: [2_400, 'done'] });
    const { duplicates, overlaps } = summarize([...frozen, ...heir], schedule);
    expect(duplicates).toEqual([expect.stringContaining('made a second backup')]);
    expect(overlaps).toHaveLength(1);
  });
});

describe('a replica that is asked to end', () => {
  it('leaves its last tick neither done nor missed', () => {
    const stopped = run({ tick: 1, fence: 2, from: 1_000, steps: [1_100], end: [1_200, 'stopped'] });
    const entries = [...run({ fence: 1, from: 0, end: [300, 'done'] }), ...stopped];
    expect(summarize(entries, schedule)).toMatchObject({ ticks: 2, done: 1, missed: [], duplicates: [], overlaps: [] });
  });

  it('does not leave ticks to others', () => {
    const closed: Entry = { ...skipped('replica-2', 1, 1_000), reason: 'closed' } as Entry;
    expect(summarize([...run({ fence: 1, from: 0, end: [300, 'done'] }), closed], schedule)).toMatchObject({
      ticks: 1,
      skipped: 0,
    });
  });
});

describe('planted mistakes', () => {
  const first = run({ fence: 1, from: 0, end: [300, 'done'] });

  it('finds a late replica that makes a second backup of the same tick', () => {
    const late = run({ replica: 'replica-2', fence: 2, from: 400, end: [700, 'done'] });
    expect(summarize([...first, ...late], schedule)).toMatchObject({ duplicates: { length: 1 }, overlaps: [] });
  });

  it('finds an attempt that was started twice, though neither came to an end', () => {
    const twins = [...run({ fence: 1, from: 0, steps: [10] }), ...run({ replica: 'replica-2', fence: 2, from: 20, steps: [30] })];
    expect(summarize(twins, schedule).duplicates).toEqual([expect.stringContaining('started attempt 1 again')]);
  });

  it('finds an attempt beyond those allowed', () => {
    const runs = [1, 2, 3].flatMap((attempt) =>
      run({ fence: attempt, attempt, from: attempt * 100, end: [attempt * 100 + 50, 'failed'] }),
    );
    expect(summarize(runs, { ...schedule, attempts: 3 }).duplicates).toEqual([]);
    expect(summarize(runs, { ...schedule, attempts: 2 }).duplicates).toHaveLength(1);
  });

  it('finds two different ticks that run into one another', () => {
    const next = run({ replica: 'replica-2', tick: 1, fence: 2, from: 299, end: [600, 'done'] });
    const { duplicates, overlaps } = summarize([...first, ...next], schedule);
    expect(duplicates).toEqual([]);
    expect(overlaps).toEqual([expect.stringContaining('1.0 ms together')]);
  });

  it('finds an overlap with a long run that is not the one just before', () => {
    const long = run({ fence: 1, from: 0, end: [5_000, 'done'] });
    const two = [1, 2].flatMap((tick) => run({ tick, fence: 1 + tick, from: tick * 1_000, end: [tick * 1_000 + 10, 'done'] }));
    expect(summarize([...long, ...two], schedule).overlaps).toHaveLength(2);
  });

  it('finds a fence that repeats or goes back', () => {
    const repeated = run({ replica: 'replica-2', tick: 1, fence: 1, from: 1_000, end: [1_300, 'done'] });
    expect(summarize([...first, ...repeated], schedule)).toMatchObject({ disorder: { length: 1 }, duplicates: [], overlaps: [] });
  });
});
