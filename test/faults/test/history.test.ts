import { describe, expect, it } from 'vitest';
import { check, figuresOf, type Expectations, type ViolationKind } from '../src/history.js';
import type { Entry, Line } from '../src/journal.js';

const AT = Date.parse('2026-01-02T03:00:00Z');

/** A worker's lines, each as long after the start as its first word says. */
function journal(worker: string, ...entries: [number, Entry['kind'], Omit<Entry, 'kind'>?][]): Line[] {
  return entries.map(([t, kind, rest = {}]) => ({ t, worker, kind, id: '1', name: 'job', ...rest }));
}

function kindsOf(lines: readonly Line[], expected: Partial<Expectations> = {}): ViolationKind[] {
  const inOrder = lines.toSorted((a, b) => a.t - b.t);
  return check(inOrder, { attempts: 1, calm: false, ...expected }).map(({ kind }) => kind);
}

/** A run as it should be. */
const run = (worker: string, from: number, to: number, fence: string, at = AT): Line[] =>
  journal(
    worker,
    [from - 10, 'asked', { at }],
    [from, 'begin', { at, fence, attempt: 1 }],
    [to - 1, 'step', { trusted: true }],
    [to, 'end'],
    [to + 1, 'answered', { at, result: 'ran' }],
  );

describe('a history without a fault', () => {
  const lines = [...run('a', 100, 200, '1'), ...run('b', 210, 300, '2', AT + 1_000)];

  it('has no violation', () => {
    expect(kindsOf(lines, { calm: true, mendedAt: 0, wallOffsetMs: AT + 900 })).toEqual([]);
  });

  it('is counted', () => {
    const faults = journal('harness', [120, 'fault'], [150, 'mended'], [205, 'mended']);
    expect(figuresOf([...lines, ...faults].toSorted((a, b) => a.t - b.t))).toMatchObject({
      asked: 2,
      ran: 2,
      lost: 0,
      refused: 0,
      faults: 1,
      worstRecoveryMs: 60,
    });
  });
});

describe('a planted violation is found:', () => {
  it('a run that trusts its lease after the next one has begun', () => {
    expect(kindsOf([...run('a', 100, 250, '1'), ...run('b', 200, 300, '2', AT + 1_000)])).toEqual(['overlap']);
  });

  it('one that wakes after its successor has ended, and still trusts its lease', () => {
    expect(kindsOf([...run('a', 100, 400, '1'), ...run('b', 200, 300, '2', AT + 1_000)])).toEqual(['overlap']);
  });

  it('a handler that begins with a lease that is over', () => {
    const lines = journal('a', [100, 'begin', { fence: '1', overMs: 30 }]);
    expect(kindsOf(lines)).toEqual(['untrusted begin']);
    expect(kindsOf(journal('a', [100, 'begin', { fence: '1', overMs: -30 }]))).toEqual([]);
  });

  it('a fence that goes back, and one that repeats', () => {
    const second = (fence: string): Line[] => journal('b', [200, 'begin', { fence }]);
    expect(kindsOf([...run('a', 100, 150, '2'), ...second('1')])).toEqual(['fence order']);
    expect(kindsOf([...run('a', 100, 150, '2'), ...second('2')])).toEqual(['fence order']);
  });

  it('an occurrence that begins more often than its attempts allow', () => {
    const lines = [...run('a', 100, 150, '1'), ...run('b', 200, 250, '2')];
    expect(kindsOf(lines)).toEqual(['duplicate']);
    const crashed = lines.filter(({ worker, kind }) => worker !== 'a' || (kind !== 'end' && kind !== 'answered'));
    expect(kindsOf(crashed)).toEqual(['duplicate']);
    expect(kindsOf(crashed, { attempts: 2 })).toEqual([]);
  });

  it('an occurrence that begins again after its end was confirmed', () => {
    const lines = [...run('a', 100, 150, '1'), ...run('b', 200, 250, '2')];
    expect(kindsOf(lines, { attempts: 2 })).toEqual(['duplicate']);
    const unreleased = lines.map((line) => (line.result === 'ran' ? { ...line, result: 'ran, unreleased' } : line));
    expect(kindsOf(unreleased, { attempts: 2 })).toEqual([]);
  });

  it('an occurrence that begins by a later lease than a newer one', () => {
    expect(kindsOf([...run('a', 100, 150, '1', AT + 1_000), ...run('b', 200, 250, '2')])).toEqual(['out of order']);
    expect(kindsOf([...run('a', 100, 150, '1'), ...run('b', 200, 250, '2', AT + 1_000)])).toEqual([]);
  });

  it('a killed holder that is followed late', () => {
    const lines = [
      ...journal('a', [100, 'begin', { fence: '1' }]),
      ...journal('harness', [150, 'killed', { id: 'a' }]),
      ...journal('b', [50, 'up'], [2_150, 'begin', { fence: '2' }]),
    ];
    expect(kindsOf(lines, { takeOverMs: 1_999 })).toEqual(['late take-over']);
    expect(kindsOf(lines, { takeOverMs: 2_000 })).toEqual([]);
    expect(figuresOf(lines).worstTakeOverMs).toBe(2_000);
    // Its run was over before.
    expect(kindsOf([...lines, ...journal('a', [140, 'end'])], { takeOverMs: 1_000 })).toEqual([]);
    // Nobody was up for so long: one came later, and another one was killed.
    const late = lines.map((line) => (line.kind === 'up' ? { ...line, t: 1_000 } : line));
    const killed = [...journal('c', [160, 'up']), ...journal('harness', [900, 'killed', { id: 'c' }])];
    expect(kindsOf([...late, ...killed], { takeOverMs: 1_200 })).toEqual([]);
    expect(kindsOf([...late, ...killed], { takeOverMs: 1_100 })).toEqual(['late take-over']);
    const crashed = [...journal('c', [160, 'up']), ...journal('harness', [900, 'crashed', { id: 'c', result: 'gone' }])];
    expect(kindsOf([...late, ...crashed], { takeOverMs: 1_200 })).toEqual(['crashed']);
  });

  it('a run that begins though its lock was paused before it was asked for', () => {
    const pause = journal('c', [50, 'paused', { from: 40, value: 10_000 }]);
    const resume = (t: number): Line[] => journal('c', [t, 'resuming']);
    expect(kindsOf([...pause, ...run('a', 100, 200, '1')])).toEqual(['ran while paused']);
    // Asked for before the pause was confirmed, after its end was asked for, or when it was over.
    expect(kindsOf([...journal('c', [95, 'paused', { from: 80, value: 10_000 }]), ...run('a', 100, 200, '1')])).toEqual([]);
    expect(kindsOf([...pause, ...resume(70), ...run('a', 100, 200, '1')])).toEqual([]);
    expect(kindsOf([...pause, ...resume(150), ...run('a', 100, 200, '1')])).toEqual(['ran while paused']);
    expect(kindsOf([...journal('c', [50, 'paused', { from: 40, value: 50 }]), ...run('a', 100, 200, '1')])).toEqual([]);
  });

  it('a run that begins before its scheduled time', () => {
    expect(kindsOf(run('a', 100, 150, '1'), { wallOffsetMs: AT - 150 })).toEqual(['early']);
    expect(kindsOf(run('a', 100, 150, '1'), { wallOffsetMs: AT - 99 })).toEqual([]);
  });

  it('an occurrence that is called done, though no run of it came to its end', () => {
    const asks = (worker: string, result: string): Line[] =>
      journal(worker, [260, 'asked', { id: '2', at: AT }], [270, 'answered', { id: '2', at: AT, result }]);
    expect(kindsOf([...asks('a', 'done'), ...asks('b', 'done')])).toEqual(['unrun']);
    expect(kindsOf([...asks('a', 'held'), ...asks('b', 'exhausted')])).toEqual([]);
    const whole = run('c', 100, 200, '1');
    expect(kindsOf([...whole, ...asks('a', 'done')])).toEqual([]);
    const killed = whole.filter(({ kind }) => kind !== 'end' && kind !== 'answered');
    expect(kindsOf([...killed, ...asks('a', 'done')])).toEqual(['unrun']);
  });

  describe('a listener of a lost lease', () => {
    const late = [...journal('a', [100, 'begin', { fence: '1' }], [450, 'step'], [460, 'lost']), ...run('b', 200, 300, '2')];

    it('that hears of it after the next run has begun', () => {
      expect(kindsOf(late)).toEqual(['told too late']);
    });

    it('and is excused while its event loop stood still', () => {
      expect(kindsOf([...late, ...journal('a', [440, 'stalled', { from: 150 }])])).toEqual([]);
      expect(kindsOf([...late, ...journal('c', [440, 'stalled', { from: 150 }])])).toEqual(['told too late']);
      // And for no longer than that.
      expect(kindsOf([...late, ...journal('a', [240, 'stalled', { from: 199 }])])).toEqual(['told too late']);
    });

    it('or never', () => {
      expect(kindsOf(late.filter(({ kind }) => kind !== 'lost'))).toEqual(['told too late']);
    });
  });

  it('a lease that is lost although nothing happened', () => {
    const lines = journal('a', [100, 'begin', { fence: '1' }], [150, 'lost']);
    expect(kindsOf(lines, { calm: true })).toEqual(['lost for nothing']);
    expect(kindsOf(lines)).toEqual([]);
  });

  it('a provider that cannot be asked although nothing happened', () => {
    const answers = (result: string): Line[] => journal('a', [100, 'asked'], [110, 'answered', { result: `error: ${result}` }]);
    expect(kindsOf(answers('ProviderError: away'), { calm: true })).toEqual(['lost for nothing']);
    expect(kindsOf(answers('ProviderError: away'))).toEqual([]);
    expect(kindsOf(answers('LockTimeoutError: gave up'), { calm: true })).toEqual([]);
  });

  it('a replica that lives and has no answer any more', () => {
    const others = run('b', 310, 350, '2', AT + 1_000);
    const lines = [...run('a', 100, 150, '1'), ...journal('a', [300, 'asked', { id: '2' }]), ...others];
    expect(kindsOf(lines, { mendedAt: 200 })).toEqual(['wedged']);
    expect(kindsOf([...lines, ...journal('harness', [400, 'killed', { id: 'a' }])], { mendedAt: 200 })).toEqual([]);
    expect(kindsOf([...lines, ...journal('a', [350, 'answered', { id: '2', result: 'held' }])], { mendedAt: 200 })).toEqual([]);
  });

  it('a lock that no replica gets any more', () => {
    const refused = journal('a', [300, 'asked', { id: '2' }], [310, 'answered', { id: '2', result: 'error: ProviderError' }]);
    const names = ['job'];
    expect(kindsOf([...run('a', 100, 150, '1'), ...refused], { mendedAt: 200, names })).toEqual(['wedged']);
    // Neither may a lock be forgotten by a workload that writes nothing before its handler.
    expect(kindsOf(run('a', 100, 150, '1'), { mendedAt: 200, names })).toEqual(['wedged']);
    expect(kindsOf([], { mendedAt: 200, names })).toEqual(['wedged']);
  });

  it('a replica that ends by itself, does not end, or leaves something open', () => {
    const harness = (kind: 'crashed' | 'hung', result: string): Line[] => journal('harness', [100, kind, { id: 'a', result }]);
    expect(kindsOf(harness('crashed', 'ended with 1'))).toEqual(['crashed']);
    expect(kindsOf(harness('hung', 'hangs'))).toEqual(['hangs']);
    expect(kindsOf(harness('hung', 'left open'))).toEqual(['left open']);
  });
});
