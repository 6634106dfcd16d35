import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { intervalOccurrence, judgeOccurrence, OptionError, type OccurrenceState } from '../src/index.ts';
import { memory } from '../src/memory.ts';

const noon = Date.parse('2026-01-02T12:00:00Z');
const mark = (state: OccurrenceState['state'], attempt = 1, at = noon): OccurrenceState => ({ at: new Date(at), state, attempt });

describe('the judgement of an occurrence', () => {
  const now = noon + 500;
  const claim = (attempt: number): object => ({ verdict: 'claim', attempt });
  const table: [string, OccurrenceState | undefined, number, number, boolean, object][] = [
    // The mark, the scheduled time that is asked for (ms after noon), attempts, held, verdict.
    ['nothing yet', undefined, 0, 1, false, claim(1)],
    ['nothing yet, and the name is held', undefined, 0, 1, true, { verdict: 'held' }],
    ['nothing yet, and it is due this very instant', undefined, 500, 1, false, claim(1)],
    ['nothing yet, and it is early', undefined, 501, 1, false, { verdict: 'early', earlyMs: 1 }],
    ['nothing yet, and it is early, and the name is held', undefined, 60_000, 1, true, { verdict: 'early', earlyMs: 59_500 }],
    ['an older one that is done', mark('done'), 1, 1, false, claim(1)],
    ['an older one that failed', mark('failed'), 1, 1, false, claim(1)],
    ['an older one that nobody finished', mark('claimed'), 1, 1, false, claim(1)],
    ['an older one that runs', mark('claimed'), 1, 1, true, { verdict: 'held' }],
    ['an older one that runs, and it is early', mark('claimed'), 501, 1, true, { verdict: 'early', earlyMs: 1 }],
    ['the same, done', mark('done'), 0, 5, false, { verdict: 'done' }],
    ['the same, done, and something else runs', mark('done'), 0, 5, true, { verdict: 'done' }],
    ['the same, running', mark('claimed'), 0, 5, true, { verdict: 'held' }],
    ['the same, running for the last time', mark('claimed', 5), 0, 5, true, { verdict: 'held' }],
    ['the same, crashed, with an attempt left', mark('claimed'), 0, 2, false, claim(2)],
    ['the same, crashed, with none left', mark('claimed'), 0, 1, false, { verdict: 'exhausted' }],
    ['the same, failed, with an attempt left', mark('failed', 2), 0, 3, false, claim(3)],
    ['the same, failed, with none left', mark('failed', 3), 0, 3, false, { verdict: 'exhausted' }],
    ['the same, failed more often than is asked for', mark('failed', 9), 0, 3, false, { verdict: 'exhausted' }],
    ['the same, failed, and something else runs', mark('failed'), 0, 2, true, { verdict: 'held' }],
    ['a later one', mark('done'), -1, 9, false, { verdict: 'superseded' }],
    ['a later one that runs', mark('claimed'), -1, 9, true, { verdict: 'superseded' }],
    ['a later one that failed', mark('failed'), -1, 9, false, { verdict: 'superseded' }],
  ];

  it.each(table)('knows what becomes of it when the record holds %s', (_, known, at, attempts, held, verdict) => {
    expect(judgeOccurrence(known, { at: new Date(noon + at), attempts }, now, held)).toEqual(verdict);
  });

  it('goes by the mark and not by the clock where the clock went back since', () => {
    expect(judgeOccurrence(mark('done'), { at: new Date(noon), attempts: 1 }, noon - 60_000, false)).toEqual({ verdict: 'done' });
    expect(judgeOccurrence(mark('failed'), { at: new Date(noon), attempts: 2 }, noon - 60_000, false)).toEqual(claim(2));
  });

  it('knows occurrences before 1970', () => {
    expect(judgeOccurrence(undefined, { at: new Date(-1), attempts: 1 }, noon, false)).toEqual(claim(1));
    expect(judgeOccurrence(mark('done', 1, -1), { at: new Date(-2), attempts: 1 }, noon, false)).toEqual({ verdict: 'superseded' });
  });
});

describe('an occurrence', () => {
  type Step =
    | { readonly kind: 'ask'; readonly slot: number; readonly attempts: number }
    | { readonly kind: 'end'; readonly result: 'done' | 'failed' | 'abandoned' | 'crash' }
    | { readonly kind: 'pass'; readonly ms: number };
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('ask' as const), slot: fc.nat(4), attempts: fc.integer({ min: 1, max: 3 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('end' as const),
        result: fc.constantFrom('done' as const, 'failed' as const, 'abandoned' as const, 'crash' as const),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 50, 100, 1_000) }) },
  );

  it('is started at most `attempts` times, never early, never after it was done, whatever happens in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps: Step[]) => {
        let now = noon;
        const provider = memory({ now: () => now });
        const signal = new AbortController().signal;
        const holder = { host: 'h', pid: 1 };
        // Of each slot: the attempts that were started, and whether it is done.
        const started = new Map<number, number[]>();
        const done = new Set<number>();
        let newest = -1;
        const wrong: string[] = [];
        let fence = 0n;
        let held: { grant: Parameters<typeof provider.release>[0]; slot: number; until: number } | undefined;
        for (const [i, given] of steps.entries()) {
          if (given.kind === 'pass') now += given.ms;
          else if (given.kind === 'end') {
            if (held !== undefined && given.result !== 'crash') {
              const ours = await provider.release(
                held.grant,
                given.result === 'failed' ? { result: 'failed', error: 'broke' } : { result: given.result },
                signal,
              );
              if (ours && given.result === 'done') done.add(held.slot);
              if (ours && given.result === 'abandoned') {
                started.get(held.slot)?.pop();
                newest = Math.max(-1, ...[...started].filter(([, attempts]) => attempts.length > 0).map(([slot]) => slot));
              }
            }
            // Nobody releases what a crashed holder held: it lapses.
            if (given.result !== 'crash') held = undefined;
          } else {
            const at = new Date(noon + given.slot * 100);
            const result = await provider.tryAcquire(
              { name: 'job', owner: String(i), leaseMs: 100, holder, occurrence: { at, attempts: given.attempts } },
              signal,
            );
            if (!result.acquired) continue;
            const before = started.get(given.slot) ?? [];
            const { attempt } = result.grant;
            started.set(given.slot, [...before, attempt]);
            if (held !== undefined && now < held.until) wrong.push('given while somebody held it');
            if (attempt !== before.length + 1) wrong.push(`attempt ${attempt} after ${before.length}`);
            if (attempt > given.attempts) wrong.push('one attempt too many');
            if (at.getTime() > now) wrong.push('early');
            if (given.slot < newest) wrong.push('after a later one');
            if (done.has(given.slot)) wrong.push('after it was done');
            if (result.grant.fence <= fence) wrong.push('with a fence that had been');
            newest = given.slot;
            ({ fence } = result.grant);
            held = { grant: result.grant, slot: given.slot, until: now + 100 };
          }
        }
        expect(wrong).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('the occurrences of an interval', () => {
  it('are the same for every replica, whenever it started', () => {
    const of = intervalOccurrence(60_000);
    expect(of(new Date('2026-01-02T03:04:05.678Z'))).toEqual(new Date('2026-01-02T03:04:00Z'));
    expect(of(new Date('2026-01-02T03:04:59.999Z'))).toEqual(new Date('2026-01-02T03:04:00Z'));
    expect(of(new Date('2026-01-02T03:05:00.000Z'))).toEqual(new Date('2026-01-02T03:05:00Z'));
  });

  it('never lie in the future, and never further back than the interval', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        fc.date({ noInvalidDate: true, min: new Date(-1e13), max: new Date(1e14) }),
        (ms, now) => {
          const slot = intervalOccurrence(ms)(now).getTime();
          expect(slot).toBeLessThanOrEqual(now.getTime());
          expect(now.getTime() - slot).toBeLessThan(ms);
        },
      ),
    );
  });

  it('are of now unless another time is given', () => {
    const before = Date.now();
    expect(intervalOccurrence(1)().getTime()).toBeGreaterThanOrEqual(before);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '60' as unknown as number])(
    'need a positive whole number of milliseconds, not %s',
    (ms) => {
      expect(() => intervalOccurrence(ms)).toThrow(OptionError);
    },
  );
});
