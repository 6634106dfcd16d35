import { describe, expect, it, vi } from 'vitest';
import { createAlarm } from '../src/alarm.ts';
import { pass, useFakeTime } from './stage.ts';

useFakeTime();

describe('an alarm', () => {
  function stage(): { alarm: ReturnType<typeof createAlarm>; rung: number[] } {
    const rung: number[] = [];
    const begin = performance.now();
    const alarm = createAlarm(performance, () => rung.push(performance.now() - begin));
    return { alarm, rung };
  }
  const inMs = (ms: number): number => performance.now() + ms;

  it('rings at the earliest of its times, once', async () => {
    const { alarm, rung } = stage();
    alarm.at(inMs(300));
    alarm.at(inMs(100));
    alarm.at(inMs(200));
    await pass(1_000);
    expect(rung).toEqual([100]);
  });

  it('rings again for what it is asked for afterwards', async () => {
    const { alarm, rung } = stage();
    alarm.at(inMs(100));
    await pass(100);
    alarm.at(inMs(50));
    await pass(50);
    expect(rung).toEqual([100, 150]);
  });

  it('rings soon for a time that has passed', async () => {
    const { alarm, rung } = stage();
    alarm.at(inMs(-100));
    await pass(1);
    expect(rung).toHaveLength(1);
  });

  it('does not ring early for a time beyond what a timer can be set for', async () => {
    const { alarm, rung } = stage();
    alarm.at(Number.POSITIVE_INFINITY);
    await pass(60_000);
    expect(rung).toEqual([]);
  });

  it('keeps the process alive only when it is told to, also for a time that is set already', () => {
    const set = vi.spyOn(globalThis, 'setTimeout');
    const { alarm } = stage();
    const last = (): NodeJS.Timeout => set.mock.results.at(-1)!.value as NodeJS.Timeout;
    alarm.at(inMs(500));
    expect(last().hasRef()).toBe(false);
    alarm.keepAlive(true);
    expect(last().hasRef()).toBe(true);
    alarm.at(inMs(400));
    expect(last().hasRef()).toBe(true);
    alarm.keepAlive(false);
    expect(last().hasRef()).toBe(false);
  });
});
