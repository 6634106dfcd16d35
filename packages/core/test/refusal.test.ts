import { describe, expect, it } from 'vitest';
import type { JobRecord } from '../src/provider.ts';
import { heldBy, refusalOf } from '../src/refusal.ts';

const NOW = Date.UTC(2026, 0, 1);
const holder = { host: 'here', pid: 7, since: new Date(NOW - 5_000) };

function recordWith(more: Partial<JobRecord>): JobRecord {
  const acquiredAt = new Date(NOW - 5_000);
  const expiresAt = new Date(NOW + 2_000);
  return { readAt: new Date(NOW), name: 'job', held: true, owner: 'a', holder, fence: 3n, acquiredAt, expiresAt, ...more };
}

const free = recordWith({ held: false, expiresAt: undefined });

describe('refusalOf', () => {
  it('names the holder, since when it holds, and when its lease ends', () => {
    const record = recordWith({});
    const refusal = { acquired: false, reason: 'held', holder, heldForMs: 5_000, expiresInMs: 2_000, record };
    expect(refusalOf(undefined, true, record, NOW)).toEqual(refusal);
    expect(refusalOf({ verdict: 'held' }, true, record, NOW)).toEqual(refusal);
  });

  it.each(['done', 'superseded', 'exhausted'] as const)('says %s of an occurrence, whether the name is held or not', (verdict) => {
    for (const record of [recordWith({}), free]) {
      expect(refusalOf({ verdict }, record.held, record, NOW)).toEqual({ acquired: false, reason: verdict, record });
    }
  });

  it('says how early an occurrence is, whether the name is held or not', () => {
    for (const record of [recordWith({}), free, undefined]) {
      const refusal = refusalOf({ verdict: 'early', earlyMs: 40 }, record?.held === true, record, NOW);
      expect(refusal).toEqual({ acquired: false, reason: 'early', earlyMs: 40, record });
    }
  });

  it('finds nothing in the way of a free name', () => {
    expect(refusalOf(undefined, false, free, NOW)).toBeUndefined();
    expect(refusalOf({ verdict: 'claim', attempt: 2 }, false, free, NOW)).toBeUndefined();
    expect(refusalOf(undefined, false, undefined, NOW)).toBeUndefined();
  });

  it('hands on when the lease ends, where the provider knows better', () => {
    expect(refusalOf(undefined, true, recordWith({}), NOW, 1_500)).toMatchObject({ expiresInMs: 1_500 });
    expect(refusalOf(undefined, true, undefined, NOW, 1_500)).toMatchObject({ reason: 'held', expiresInMs: 1_500 });
  });
});

describe('heldBy', () => {
  it('names nobody by a record that is behind, or without one', () => {
    expect(heldBy(free, NOW)).toEqual({ acquired: false, reason: 'held', record: free });
    expect(heldBy(undefined, NOW)).toEqual({ acquired: false, reason: 'held' });
  });

  it('knows no end of a lease that does not expire', () => {
    expect(heldBy(recordWith({ expiresAt: null }), NOW).expiresInMs).toBeUndefined();
  });

  it('never says that a name has been held for less than no time, though the clock was set back', () => {
    expect(heldBy(recordWith({}), NOW - 60_000).heldForMs).toBe(0);
  });
});
