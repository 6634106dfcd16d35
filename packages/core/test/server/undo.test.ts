import { describe, expect, it } from 'vitest';
import { Undo } from '../../src/server/undo.ts';
import { pass, settle, useFakeTime, watch } from '../stage.ts';

const forever = new Promise<void>(() => {});

describe('a try that is taken back', () => {
  it('is tried again at once when another one asks for the name, and the next one is told if that fails', async () => {
    const releases: string[] = [];
    let away = true;
    const undo = new Undo<undefined>(async (name, owner) => {
      releases.push(`${name} ${owner}`);
      if (away) throw new Error('away');
      return true;
    });
    undo.add('x', 'a');
    // The first asker comes while one is under way, which does not count for it.
    await expect(undo.settled('x')).rejects.toThrow('away');
    for (let n = 0; n < 3; n += 1) await expect(undo.settled('x')).rejects.toThrow('away');
    away = false;
    await undo.settled('x');
    expect(undo.settled('x')).toBeUndefined();
    expect(new Set(releases)).toEqual(new Set(['x a']));
  });

  it('waits for no other name, and goes in the order in which they came', async () => {
    const releases: string[] = [];
    const undo = new Undo<string>(async (name, owner, lost) => {
      releases.push(`${name} ${owner} ${lost}`);
      if (name === 'away') throw new Error('away');
      return true;
    });
    undo.add('away', 'a', 'one');
    undo.add('x', 'b', 'two');
    undo.add('x', 'c');
    await undo.settled('x');
    expect(releases.filter((one) => one.startsWith('x'))).toEqual(['x b two', 'x c undefined']);
    await undo.close(Promise.resolve());
    expect(undo.settled('y')).toBeUndefined();
    await undo.close(forever);
  });

  describe('in time that passes', () => {
    useFakeTime();

    it('does not wait for its next turn when another one asks for the name', async () => {
      let away = true;
      const undo = new Undo<undefined>(async () => {
        if (away) throw new Error('away');
        return true;
      });
      undo.add('x', 'a');
      await settle();
      away = false;
      const asker = watch(undo.settled('x')!);
      await settle();
      expect(asker.state).toBe('resolved');
    });

    it('is looked for once more when it was not found, as its statement may arrive after the one that looked', async () => {
      const releases: string[] = [];
      const undo = new Undo<undefined>(async (name, owner) => {
        releases.push(`${name} ${owner}`);
        return false;
      });
      undo.add('x', 'a');
      await settle();
      expect(releases).toEqual(['x a']);
      await pass(60_000);
      expect(releases).toEqual(['x a', 'x a']);
    });
  });
});
