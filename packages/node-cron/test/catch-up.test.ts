import { setImmediate } from 'node:timers/promises';
import { OptionError, ProviderError, type LockProvider, type Solo } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { schedule as plainSchedule, type ScheduleContext, type ScheduleHandler, type ScheduleOptions } from '../src/index.ts';
import { assemble, gate, like, quiet, uniqueName, type Fleet } from './fleet.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

beforeEach(assemble);

/** A schedule of each hour whose next tick is half an hour away, so that none comes while a test lasts. */
const HALF_AN_HOUR_AWAY = `${new Date(Date.now() + 30 * MINUTE_MS).getUTCMinutes()} * * * *`;

function schedule<T>(fleet: Fleet, solo: Solo, handler: ScheduleHandler<T>, options: ScheduleOptions): void {
  const usual = { logger: quiet, suppressMissedWarning: true, timezone: 'UTC' };
  fleet.tracked(plainSchedule(solo, HALF_AN_HOUR_AWAY, handler, { ...usual, ...options }));
}

/** The last ticks, from the oldest to the newest. */
function lastTicks(count: number): Date[] {
  const minute = new Date(Date.now() + 30 * MINUTE_MS).getUTCMinutes();
  const at = new Date();
  at.setUTCMinutes(minute, 0, 0);
  if (at.getTime() > Date.now()) at.setTime(at.getTime() - HOUR_MS);
  return Array.from({ length: count }, (_, n) => new Date(at.getTime() - (count - 1 - n) * HOUR_MS));
}

/** A store in which the job has run once, just before the oldest of the last `count` ticks, and then nobody was up. */
async function downOver(fleet: Fleet, name: string, count: number): Promise<{ provider: LockProvider; ticks: Date[] }> {
  const ticks = lastTicks(count);
  const [before] = lastTicks(count + 1);
  let now: (() => number) | undefined = () => ticks[0]!.getTime() - MINUTE_MS;
  const provider = memory({ now: () => now?.() ?? Date.now() });
  await fleet.replica(provider).run(name, () => {}, { occurrence: before! });
  now = undefined;
  return { provider, ticks };
}

/** How often the record of a name was read; others are read to see whether the store is ready. */
function looksAt(inspect: { readonly mock: { readonly calls: readonly (readonly unknown[])[] } }, name: string): number {
  return inspect.mock.calls.filter(([asked]) => asked === name).length;
}

/** Resolves when a run that was begun by now has long called its handler: a store in memory answers within a turn. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await setImmediate();
}

/** A handler that notes the ticks that it is called for. */
function noting(): { readonly ran: Date[]; readonly handler: (context: ScheduleContext) => void } {
  const ran: Date[] = [];
  return {
    ran,
    handler: ({ date, occurrence }) => {
      expect(occurrence?.at).toEqual(date);
      ran.push(date);
    },
  };
}

describe('catching up at the start', () => {
  it('runs the latest tick alone, once in the fleet', async ({ fleet }) => {
    const name = uniqueName('latest');
    const { provider, ticks } = await downOver(fleet, name, 5);
    const { ran, handler } = noting();
    const solos = [0, 1, 2].map(() => fleet.replica(provider));
    const skips = vi.fn<(detail: unknown) => void>();
    for (const solo of solos) solo.on('skipped', skips);
    for (const solo of solos) schedule(fleet, solo, handler, { name, catchUp: 'latest' });
    await vi.waitFor(() => expect(ran.length + skips.mock.calls.length).toBeGreaterThanOrEqual(3));
    expect(ran).toEqual([ticks.at(-1)]);
  });

  it('runs all of them in order, each once in the fleet', async ({ fleet }) => {
    const name = uniqueName('all');
    const { provider, ticks } = await downOver(fleet, name, 5);
    const { ran, handler } = noting();
    for (const _ of [0, 1, 2]) {
      schedule(fleet, fleet.replica(provider), handler, { name, catchUp: { all: true, max: 10 } });
    }
    await vi.waitFor(() => expect(ran).toHaveLength(5));
    expect(ran).toEqual(ticks);
  });

  it('runs the last `max` of them', async ({ fleet }) => {
    const name = uniqueName('max');
    const { provider, ticks } = await downOver(fleet, name, 5);
    const { ran, handler } = noting();
    schedule(fleet, fleet.replica(provider), handler, { name, catchUp: { all: true, max: 2 } });
    await vi.waitFor(() => expect(ran).toEqual(ticks.slice(-2)));
  });

  it('runs none that is older than catchUpWithinMs', async ({ fleet }) => {
    const name = uniqueName('within');
    const { provider, ticks } = await downOver(fleet, name, 5);
    const { ran, handler } = noting();
    const options = { name, catchUp: { all: true, max: 10 }, catchUpWithinMs: 2 * HOUR_MS } as const;
    schedule(fleet, fleet.replica(provider), handler, options);
    await vi.waitFor(() => expect(ran).toEqual(ticks.slice(-2)));
  });

  it('stops at the first one that fails', async ({ fleet }) => {
    const name = uniqueName('fails');
    const { provider, ticks } = await downOver(fleet, name, 4);
    const { ran, handler } = noting();
    const solo = fleet.replica(provider);
    const failed = vi.fn<(detail: unknown) => void>();
    solo.on('failed', failed);
    const failing = (context: ScheduleContext): void => {
      handler(context);
      if (context.date.getTime() === ticks[1]!.getTime()) throw new Error('no space left');
    };
    schedule(fleet, solo, failing, { name, catchUp: { all: true, max: 10 } });
    await vi.waitFor(() => expect(failed).toHaveBeenCalledOnce());
    expect((await solo.inspect(name))?.occurrence).toMatchObject({ at: ticks[1], state: 'failed' });
    expect(ran).toEqual(ticks.slice(0, 2));
    // Nor does another replica go on above it.
    const inspect = vi.fn<LockProvider['inspect']>((...asked) => provider.inspect(...asked));
    const other = fleet.replica(like(provider, { inspect }));
    schedule(fleet, other, failing, { name, catchUp: { all: true, max: 10 } });
    await vi.waitFor(() => expect(looksAt(inspect, name)).toBe(1));
    await turns();
    expect(ran).toEqual(ticks.slice(0, 2));
  });

  it.each(['skip', undefined] as const)('runs none unless it is asked to: %s', async (catchUp) => {
    const name = uniqueName('skip');
    const inspect = vi.fn<LockProvider['inspect']>();
    await assembled(async (fleet) => {
      const { provider } = await downOver(fleet, name, 5);
      schedule(fleet, fleet.replica(like(provider, { inspect })), () => {}, { name, catchUp });
    });
    expect(looksAt(inspect, name)).toBe(0);
  });

  it('runs nothing from before the name was known: a first deployment at noon', async ({ fleet }) => {
    const provider = memory();
    const inspect = vi.fn<LockProvider['inspect']>((...asked) => provider.inspect(...asked));
    const { ran, handler } = noting();
    const first = uniqueName('first');
    schedule(fleet, fleet.replica(like(provider, { inspect })), handler, { name: first, catchUp: 'latest' });
    await vi.waitFor(() => expect(looksAt(inspect, first)).toBe(1));
    const name = uniqueName('locked by hand');
    await fleet.replica(provider).run(name, () => {});
    schedule(fleet, fleet.replica(like(provider, { inspect })), handler, { name, catchUp: { all: true, max: 9 } });
    await vi.waitFor(() => expect(looksAt(inspect, name)).toBe(1));
    await turns();
    expect(ran).toEqual([]);
  });

  it('runs the last tick again that a crash has left open, if it has attempts', async ({ fleet }) => {
    const name = uniqueName('crashed');
    const { provider, ticks } = await downOver(fleet, name, 1);
    const crashed = await fleet.replica(provider).claim(name, { occurrence: ticks[0]!, attempts: 2 });
    expect(crashed.acquired && (await crashed.lease.release({ result: 'failed', error: 'crash' }))).toBe(true);
    const attempts: number[] = [];
    schedule(fleet, fleet.replica(provider), ({ attempt }) => void attempts.push(attempt), {
      name,
      catchUp: 'latest',
      attempts: 2,
    });
    await vi.waitFor(() => expect(attempts).toEqual([2]));
  });

  it('leaves one alone that a crash has left open longer ago than catchUpWithinMs', async ({ fleet }) => {
    const name = uniqueName('crashed long ago');
    const { provider } = await downOver(fleet, name, 1);
    const at = new Date(lastTicks(1)[0]!.getTime() - 20 * MINUTE_MS);
    await expect(
      fleet.replica(provider).run(name, () => Promise.reject(new Error('crash')), { occurrence: at, attempts: 2 }),
    ).rejects.toThrow('crash');
    const inspect = vi.fn<LockProvider['inspect']>((...asked) => provider.inspect(...asked));
    const { ran, handler } = noting();
    schedule(fleet, fleet.replica(like(provider, { inspect })), handler, {
      name,
      catchUp: 'latest',
      catchUpWithinMs: MINUTE_MS,
      attempts: 2,
    });
    await vi.waitFor(() => expect(looksAt(inspect, name)).toBe(1));
    await turns();
    expect(ran).toEqual([]);
  });
});

describe('catching up later', () => {
  it('waits for the end of a pause', async ({ fleet }) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const name = uniqueName('paused');
      const { provider, ticks } = await downOver(fleet, name, 2);
      const solo = fleet.replica(provider);
      await solo.pause(name, { note: 'the disk is being replaced' });
      const { ran, handler } = noting();
      const paused = vi.fn<(detail: unknown) => void>();
      solo.on('paused', paused);
      schedule(fleet, solo, handler, { name, catchUp: 'latest' });
      await vi.waitFor(() => expect(paused).toHaveBeenCalled());
      expect(ran).toEqual([]);
      await solo.resume(name);
      await vi.advanceTimersByTimeAsync(30_000);
      await vi.waitFor(() => expect(ran).toEqual(ticks.slice(-1)));
    } finally {
      vi.useRealTimers();
    }
  });

  it('waits for a provider that is away', async ({ fleet }) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const name = uniqueName('away');
      const { provider, ticks } = await downOver(fleet, name, 2);
      let isAway = true;
      const inspect = vi.fn<LockProvider['inspect']>((...asked) =>
        isAway ? Promise.reject(new ProviderError('memory', 'inspect', 'it is away')) : provider.inspect(...asked),
      );
      const { ran, handler } = noting();
      schedule(fleet, fleet.replica(like(provider, { inspect })), handler, { name, catchUp: 'latest' });
      await vi.waitFor(() => expect(looksAt(inspect, name)).toBe(1));
      await vi.advanceTimersByTimeAsync(30_000);
      await vi.waitFor(() => expect(looksAt(inspect, name)).toBe(2));
      isAway = false;
      await vi.advanceTimersByTimeAsync(30_000);
      await vi.waitFor(() => expect(ran).toEqual(ticks.slice(-1)));
    } finally {
      vi.useRealTimers();
    }
  });

  it('runs what an operator opened again, within a minute', async ({ fleet }) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const name = uniqueName('rerun');
      const { provider, ticks } = await downOver(fleet, name, 1);
      const solo = fleet.replica(provider);
      const attempts: number[] = [];
      schedule(fleet, solo, ({ attempt }) => void attempts.push(attempt), { name, catchUp: 'latest' });
      await vi.waitFor(() => expect(attempts).toEqual([1]));
      await vi.waitFor(async () => expect(await solo.rerun(name)).toMatchObject({ at: ticks[0], state: 'reopened' }));
      await vi.advanceTimersByTimeAsync(60_000);
      await vi.waitFor(() => expect(attempts).toEqual([1, 2]));
    } finally {
      vi.useRealTimers();
    }
  });

  it('ends with its schedule', async ({ fleet }) => {
    const name = uniqueName('ends');
    const { provider, ticks } = await downOver(fleet, name, 3);
    const solo = fleet.replica(provider);
    const [started, finish] = [gate(), gate()];
    const ran: Date[] = [];
    const task = plainSchedule(
      solo,
      HALF_AN_HOUR_AWAY,
      async ({ date }) => {
        ran.push(date);
        started.open();
        await finish.opened;
      },
      { name, catchUp: { all: true, max: 9 }, logger: quiet, timezone: 'UTC' },
    );
    await started.opened;
    await task.destroy();
    finish.open();
    await vi.waitFor(async () => expect((await solo.inspect(name))?.held).toBe(false));
    expect(ran).toEqual([ticks[0]]);
  });
});

describe('what a record of a schedule tells', () => {
  it('is the expression, the zone, and when the job is due next', async ({ fleet }) => {
    const name = uniqueName('plan');
    const { provider } = await downOver(fleet, name, 1);
    const solo = fleet.replica(provider);
    schedule(fleet, solo, () => {}, { name, catchUp: 'latest' });
    await vi.waitFor(async () => expect((await solo.inspect(name))?.schedule).toBeDefined());
    const record = await solo.inspect(name);
    expect(record?.schedule).toEqual({ expression: HALF_AN_HOUR_AWAY, timezone: 'UTC' });
    expect(record?.nextDueAt?.getTime()).toBe(lastTicks(1)[0]!.getTime() + HOUR_MS);
  });
});

describe('options that cannot work', () => {
  it.each(['newest', 1, { all: true }, { all: true, max: 0 }, { max: 3 }, null])('are refused: catchUp %j', async (catchUp) => {
    await assembled(async (fleet) => {
      const solo = fleet.replica(memory());
      const options = { name: uniqueName('bad'), catchUp } as unknown as ScheduleOptions;
      expect(() => schedule(fleet, solo, () => {}, options)).toThrow(OptionError);
    });
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, '1h'])('are refused: catchUpWithinMs %j', async (catchUpWithinMs) => {
    await assembled(async (fleet) => {
      const solo = fleet.replica(memory());
      const options = { name: uniqueName('bad'), catchUp: 'latest', catchUpWithinMs } as unknown as ScheduleOptions;
      expect(() => schedule(fleet, solo, () => {}, options)).toThrow(OptionError);
    });
  });
});

/** For cases of a table, which get no context. */
async function assembled(use: (fleet: Fleet) => Promise<void>): Promise<void> {
  const context = {} as Parameters<typeof assemble>[0];
  const end = assemble(context);
  try {
    await use(context.fleet);
  } finally {
    await end();
  }
}
