import { describe, expect, it } from 'vitest';
import { readLine, spellWith, writeLine, type Kept, type Line, type Spell } from '../src/spell.ts';

const job = (attemptsStarted: number, attemptsMade = 0, stalledCounter = 0): Kept => ({
  id: '7',
  queueQualifiedName: 'bull:q',
  attemptsStarted,
  attemptsMade,
  stalledCounter,
});
const since = Date.parse('2026-01-01');
const last = (tries: number, start: number): Spell => ({ tries, since, start, failures: 0, stalls: 0 });
const now = since + 60_000;
const anew = { tries: 1, since: now };

describe('a spell of being put off', () => {
  it('begins with the first time that its job is put off, however often the job was started before', () => {
    expect(spellWith(job(9, 2, 1), undefined, true, now)).toEqual({ ...anew, start: 9, failures: 2, stalls: 1 });
  });

  it('goes on with the next start, or one before the next line', () => {
    expect(spellWith(job(10), last(2, 9), true, now)).toMatchObject({ tries: 3, since });
    const tries = [10, 12, 13, 14].map((start) => spellWith(job(start), last(4, 9), false, now).tries);
    expect(tries).toEqual([5, 7, 8, 1]);
    expect(spellWith(job(10), last(5, 9), false, now)).toMatchObject({ tries: 6, since });
  });

  it('is over with a start that was no try, where each try has a line', () => {
    expect(spellWith(job(11), last(2, 9), true, now)).toMatchObject(anew);
  });

  it('is over when the job has failed or stalled since, or was retried as a new one', () => {
    for (const each of [job(10, 1), job(10, 0, 1), job(1), job(9)]) {
      expect(spellWith(each, last(4, 9), false, now)).toMatchObject(anew);
    }
  });
});

describe('a line of a job’s log', () => {
  it.each<Line>([{ spell: { ...last(4, 9), failures: 1, stalls: 2 } }, { until: since }, 'over'])(
    '%o is read as it was written',
    (line) => {
      expect(readLine(`"x" is held by somebody else${writeLine(line)}`)).toEqual(line);
    },
  );

  it('that somebody else wrote says nothing', () => {
    expect(readLine('step 3 (try 4)')).toBeUndefined();
  });
});
