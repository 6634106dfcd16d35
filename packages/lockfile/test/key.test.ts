import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FLOOR_OF_ALL, floorsOf, generationKey, keyOf, pauseKey, standingAmong, standingOf } from '../src/key.ts';

const names = fc.string({ unit: 'binary', minLength: 1, maxLength: 500 });

describe('the key of a name', () => {
  it('is a plain file name, whatever the name is', () => {
    fc.assert(
      fc.property(names, (name) => {
        expect(keyOf(name)).toMatch(/^[a-z0-9_-]{0,64}(~[0-9a-f]{32})?$/);
      }),
    );
  });

  it('differs from that of every other name, also where upper and lower case are one', () => {
    fc.assert(
      fc.property(names, names, (a, b) => {
        fc.pre(a !== b);
        expect(keyOf(a).toLowerCase()).not.toBe(keyOf(b).toLowerCase());
      }),
    );
    const alike = ['job', 'Job', 'JOB', 'job ', 'job.', 'job/', keyOf('Job'), keyOf('job/')];
    expect(new Set(alike.map(keyOf)).size).toBe(alike.length);
  });

  it('leaves room for the longest generation in a file name', () => {
    fc.assert(
      fc.property(names, (name) => {
        expect(generationKey(keyOf(name), 10n ** 18n - 1n).length).toBeLessThan(255);
      }),
    );
  });
});

describe('the files of a lock', () => {
  const listed = [
    'job.10.lock',
    'job.9.lock',
    'job.2.lock',
    'job.0.lock',
    'job.09.lock',
    'job.lock',
    'job.x.lock',
    'job.7.paused',
    'job.12.paused',
    'job.paused',
    'job.8.floor',
    'jobs.3.lock',
    'other.4.paused',
    '.1.tmp',
    'job.4.lock~',
  ];

  it('are found among others, in rising order', () => {
    const own = { generations: [2n, 9n, 10n], pauses: [7n, 12n] };
    expect(standingOf('job', listed)).toEqual(own);
    expect(Object.fromEntries(standingAmong(listed))).toEqual({
      job: own,
      jobs: { generations: [3n], pauses: [] },
      other: { generations: [], pauses: [4n] },
    });
    expect(floorsOf('job', [...listed, 'job.0.floor'])).toEqual([0n, 8n]);
  });

  it('are no files of another lock, whose key begins like one of them', () => {
    expect(standingOf('job', ['job.csv.5.lock', 'job.csv.5.paused', 'job.1.lock.2.lock'])).toEqual({ generations: [], pauses: [] });
  });

  it('are never given a number that no process would find', () => {
    expect(generationKey('job', 10n ** 18n - 1n)).toBe('job.999999999999999999.lock');
    expect(() => generationKey('job', 10n ** 18n)).toThrow('no higher numbers left');
    expect(() => pauseKey('job', 10n ** 18n)).toThrow('no higher numbers left');
  });

  it('are apart from the floor of all locks, whatever a name is', () => {
    fc.assert(fc.property(names, (name) => keyOf(name) !== FLOOR_OF_ALL));
    expect(keyOf(FLOOR_OF_ALL)).not.toBe(FLOOR_OF_ALL);
  });
});
