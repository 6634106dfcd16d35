import { createTask, type ScheduledTask } from 'node-cron';
import { afterEach, describe, expect, it } from 'vitest';
import { Instants } from '../src/instants.ts';
import { quiet } from './fleet.ts';

const tasks: ScheduledTask[] = [];
afterEach(async () => {
  for (const task of tasks.splice(0)) await task.destroy();
});

function instantsOf(expression: string, timezone: string): Instants {
  const task = createTask(expression, () => {}, { timezone, logger: quiet });
  tasks.push(task);
  return new Instants(task, expression);
}

function between(expression: string, timezone: string, after: string, upTo: string): string[] {
  return [...instantsOf(expression, timezone).between(new Date(after), new Date(upTo))].map((at) => at.toISOString());
}

describe('the instants of a schedule', () => {
  it('are those after one instant and up to another, the latest first', () => {
    expect(between('0 * * * *', 'UTC', '2026-11-27T10:00:00Z', '2026-11-27T13:00:00Z')).toEqual([
      '2026-11-27T13:00:00.000Z',
      '2026-11-27T12:00:00.000Z',
      '2026-11-27T11:00:00.000Z',
    ]);
    expect(between('0 * * * *', 'UTC', '2026-11-27T10:00:00.001Z', '2026-11-27T10:59:59.999Z')).toEqual([]);
  });

  it('have the seconds of the expression', () => {
    expect(between('10,40 30 * * * *', 'UTC', '2026-11-27T10:30:10Z', '2026-11-27T11:30:39Z')).toEqual([
      '2026-11-27T11:30:10.000Z',
      '2026-11-27T10:30:40.000Z',
    ]);
  });

  it.each([
    ['Europe/Berlin', '2026-11-27T02:00:00.000Z'],
    ['Asia/Kolkata', '2026-11-26T21:30:00.000Z'],
    ['Asia/Kathmandu', '2026-11-26T21:15:00.000Z'],
    ['Australia/Lord_Howe', '2026-11-26T16:00:00.000Z'],
  ])('are those of its time zone: 3:00 in %s', (zone, at) => {
    expect(between('0 3 * * *', zone, '2026-11-26T12:00:00Z', '2026-11-27T11:59:59Z')).toEqual([at]);
  });
});
