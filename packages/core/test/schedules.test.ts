import { describe, expect, it, vi } from 'vitest';
import { at, createStage, deferred, listen, settle, useFakeTime } from './stage.ts';

useFakeTime();

const night = { schedule: { expression: '0 3 * * *', timezone: 'Europe/Berlin' }, scheduleHash: 'aaaa' };
const hourly = { schedule: { everyMs: 3_600_000 }, scheduleHash: 'bbbb' };

describe('a conflict of schedules', () => {
  it('shows both of them, and both processes where a record names the other', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { replica } = createStage();
    const [a, b] = [replica({ label: 'a' }), replica({ label: 'b' })];
    const told = listen(a);
    await a.run('job', () => {}, { ...night, occurrence: at(-30) });
    const gate = deferred();
    const running = b.run('job', () => gate.promise, { ...hourly, occurrence: at(-20) });
    await settle();
    await a.run('job', () => {}, { ...night, occurrence: at(-10) });
    gate.resolve();
    await running;
    expect(told.filter(({ event }) => event === 'scheduleConflict')).toMatchObject([
      { schedule: night.schedule, otherSchedule: hourly.schedule, holder: { label: 'b' }, here: { label: 'a', pid: process.pid } },
    ]);
    expect(warned.mock.calls[0]![0]).toMatch(
      /^"job" is claimed by b@\S+ \(pid \d+\) for another schedule, every 60 min, than the one here, "0 3 \* \* \*" in Europe\/Berlin \(a@/,
    );
  });

  it('shows both where they claim the name in turns', async () => {
    vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createStage().replica();
    const told = listen(solo);
    await solo.run('job', () => {}, { ...night, occurrence: at(-30) });
    await solo.run('job', () => {}, { ...hourly, occurrence: at(-20) });
    await solo.run('job', () => {}, { ...night, occurrence: at(-10) });
    expect(told.filter(({ event }) => event === 'scheduleConflict')).toMatchObject([
      { schedule: night.schedule, otherSchedule: hourly.schedule, holder: undefined },
    ]);
  });
});
