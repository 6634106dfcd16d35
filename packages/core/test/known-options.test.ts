import { describe, expect, it } from 'vitest';
import { createSolo, OptionError, type RunOptions, type Solo, type SoloOptions } from '../src/index.ts';
import { checkKnown } from '../src/known-options.ts';
import { memory } from '../src/memory.ts';
import { rejection } from './stage.ts';

const open = (): Solo => createSolo({ provider: memory() });
/** As a program in JavaScript gives them. */
const given = (options: Record<string, unknown>): never => options as never;

describe('an option that does not exist', () => {
  const verbs: [string, string, (solo: Solo) => unknown][] = [
    ['run()', 'waitMS', (solo) => solo.run('job', () => {}, given({ waitMS: 5, onBusy: 'wait' }))],
    ['run()', 'occurence', (solo) => solo.run('job', () => {}, given({ occurence: new Date(), attempts: 2 }))],
    ['run()', 'occurence', async (solo) => solo.singleton('job', () => {}, given({ occurence: new Date() }))],
    ['run()', 'onbusy', async (solo) => solo.checkOptions('job', given({ onbusy: 'skip' }))],
    ['retry', 'retry', (solo) => solo.run('job', () => {}, given({ onBusy: 'retry', retry: { retry: 3 } }))],
    [
      'schedule',
      'timeZone',
      (solo) =>
        solo.run('job', () => {}, given({ occurrence: new Date(0), schedule: { expression: '* * * * *', timeZone: 'UTC' } })),
    ],
    ['tryAcquire()', 'leaseMS', (solo) => solo.tryAcquire('job', given({ leaseMS: 1_000 }))],
    ['acquire()', 'wait', (solo) => solo.acquire('job', given({ wait: 5 }))],
    ['claim()', 'attempt', (solo) => solo.claim('job', given({ attempt: 2 }))],
    ['elect()', 'onDeposd', async (solo) => solo.elect('job', given({ onElected: () => {}, onDeposd: () => {} }))],
    ['list()', 'prefx', async (solo) => solo.list(given({ prefx: 'a' }))],
    ['pauses()', 'prefx', async (solo) => solo.pauses(given({ prefx: 'a' }))],
    ['pause()', 'notes', (solo) => solo.pause('job', given({ notes: 'the disk' }))],
    ['prune()', 'olderThanMS', (solo) => solo.prune(given({ olderThanMS: 0 }))],
    ['forceRelease()', 'fences', (solo) => solo.forceRelease('job', given({ fences: 1n }))],
    ['explain()', 'lease', async (solo) => solo.explain(given({ leaseM: 1 }))],
    ['ready()', 'timeout', (solo) => solo.ready(given({ timeoutM: 5 }))],
    ['close()', 'gracems', (solo) => solo.close(given({ gracems: 5 }))],
  ];

  it.each(verbs)('of %s is refused: %s', async (verb, _, call) => {
    const error = await rejection((async () => call(open()))());
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toContain(` of ${verb}`);
  });

  it('is refused with the one that was probably meant', async () => {
    const error = await rejection(open().run('job', () => {}, given({ waitMS: 5 })));
    expect(error).toMatchObject({ message: 'There is no option "waitMS" of run(); did you mean waitMs?' });
  });

  it('is refused with all that exist where none is near', async () => {
    const error = await rejection(open().close(given({ ttl: 5 })));
    expect(error).toMatchObject({ message: 'There is no option "ttl" of close(); there are graceMs, keepProvider.' });
  });

  it('is refused by createSolo', () => {
    expect(() => createSolo({ provider: memory(), nameSpace: 'app' } as SoloOptions)).toThrow(/did you mean namespace\?/);
  });

  it('runs nothing, and leaves no run behind', async () => {
    const solo = open();
    let ran = false;
    await rejection(solo.run('job', () => void (ran = true), given({ maxRunMS: 5 })));
    expect(ran).toBe(false);
    expect(await solo.inspect('job')).toBeUndefined();
    await solo.close();
  });

  it('is no matter where it is undefined, or was added to every object', async () => {
    const solo = open();
    expect(await solo.run('job', () => 1, given({ waitMS: undefined }))).toMatchObject({ status: 'ran' });
    expect(await solo.run('job', () => 1, Object.create({ waitMS: 5 }) as RunOptions)).toMatchObject({ status: 'ran' });
  });

  it('has a long name shortened, and is told at once', async () => {
    const error = await rejection(open().run('job', () => {}, given({ ['x'.repeat(1e6)]: 1 })));
    expect((error as Error).message.length).toBeLessThan(400);
  });
});

describe('a table that is open', () => {
  const table = { of: 'schedule()', names: new Set(['waitMs', 'unref']), open: true };

  it('refuses a slip of a name that it has, and nothing else', () => {
    expect(() => checkKnown(table, { waitMS: 1 })).toThrow('There is no option "waitMS" of schedule(); did you mean waitMs?');
    expect(() => checkKnown(table, { unreff: true })).toThrow(OptionError);
    checkKnown(table, { somethingNew: 1, unref: true });
  });
});
