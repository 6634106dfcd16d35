import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generationKey, generationsOf, keyOf, locksAmong } from '../src/key.ts';

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

describe('the generations of a lock', () => {
  it('are found among other files, in rising order', () => {
    const listed = [
      'job.10.lock',
      'job.9.lock',
      'job.2.lock',
      'job.09.lock',
      'job.lock',
      'job.x.lock',
      'jobs.3.lock',
      '.1.tmp',
      'job.4.lock~',
    ];
    expect(generationsOf('job', listed)).toEqual([2n, 9n, 10n]);
    expect([...locksAmong(listed).keys()].sort()).toEqual(['job', 'jobs']);
  });
});
