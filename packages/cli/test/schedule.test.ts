import { describe, expect, it } from 'vitest';
import { cronSlot, intervalSlot } from '../src/schedule.ts';

async function slot(expression: string, now: string, timezone = 'UTC'): Promise<string> {
  return (await cronSlot(expression, timezone, new Date(now))).at.toISOString();
}

describe('the instant that a run is for', () => {
  it.each([
    ['in the instant itself', '2026-03-01T03:00:00.000Z', '2026-03-01T03:00:00.000Z'],
    ['a moment later', '2026-03-01T03:00:00.001Z', '2026-03-01T03:00:00.000Z'],
    ['five seconds later', '2026-03-01T03:00:05.000Z', '2026-03-01T03:00:00.000Z'],
    ['a moment earlier', '2026-03-01T02:59:59.999Z', '2026-02-28T03:00:00.000Z'],
    ['almost a day later', '2026-03-02T02:59:59.999Z', '2026-03-01T03:00:00.000Z'],
  ])('is the latest that has come: %s', async (_, now, at) => {
    expect(await slot('0 3 * * *', now)).toBe(at);
  });

  it('may have seconds', async () => {
    expect(await slot('*/10 * * * * *', '2026-03-01T03:00:19.999Z')).toBe('2026-03-01T03:00:10.000Z');
  });

  it('is by the time zone that is asked for', async () => {
    expect(await slot('0 3 * * *', '2026-07-01T12:00:00Z', 'Europe/Berlin')).toBe('2026-07-01T01:00:00.000Z');
    expect(await slot('0 3 * * *', '2026-01-01T12:00:00Z', 'Europe/Berlin')).toBe('2026-01-01T02:00:00.000Z');
  });

  it.each(['', 'daily', '* * *', '61 * * * *', '* * * * * * *'])('is not made of %j', async (expression) => {
    await expect(slot(expression, '2026-03-01T03:00:00Z')).rejects.toThrow(/--once-per/);
  });

  it('of an interval is the start of its slot, counted from 1970', () => {
    expect(intervalSlot(900_000, new Date('2026-03-01T03:14:59.999Z')).at.toISOString()).toBe('2026-03-01T03:00:00.000Z');
    expect(() => intervalSlot(0, new Date())).toThrow(/--interval/);
  });

  it('carries a digest of its schedule, which spaces do not change and zones do', async () => {
    const now = new Date('2026-03-01T03:14:59.999Z');
    const [one, same, other] = await Promise.all([
      cronSlot('0 3 * * *', 'UTC', now),
      cronSlot(' 0  3 * * * ', 'UTC', now),
      cronSlot('0 3 * * *', 'Europe/Berlin', now),
    ]);
    expect(same.scheduleHash).toBe(one.scheduleHash);
    expect(other.scheduleHash).not.toBe(one.scheduleHash);
  });
});
