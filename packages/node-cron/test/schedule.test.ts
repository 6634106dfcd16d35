import { setTimeout as delay } from 'node:timers/promises';
import {
  LeaseLostError,
  LockBusyError,
  OptionError,
  ProviderError,
  type LockProvider,
  type RunContext,
  type RunResult,
  type Solo,
} from '@solorun/core';
import { memory } from '@solorun/core/memory';
import cron from 'node-cron';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { schedule as plainSchedule, type ScheduleContext, type ScheduleHandler, type ScheduleOptions } from '../src/index.ts';
import {
  answered,
  assemble,
  EVERY_SECOND,
  FOREVER_DELAYED,
  gate,
  heard,
  Journal,
  like,
  quiet,
  uniqueName,
  type Fleet,
} from './fleet.ts';

/** As the door under test, quiet and cleaned up. */
function schedule<T>(fleet: Fleet, solo: Solo, handler: ScheduleHandler<T>, options: ScheduleOptions, expression = EVERY_SECOND) {
  return fleet.tracked(plainSchedule(solo, expression, handler, { logger: quiet, suppressMissedWarning: true, ...options }));
}

beforeEach(assemble);

describe('schedule: which ticks run', () => {
  it.concurrent('does not run a tick twice when a replica fires 200 ms late and the job takes 20 ms', async ({ fleet }) => {
    const shared = memory();
    const name = uniqueName('late');
    const journal = new Journal();
    const handler = ({ date }: ScheduleContext): Promise<void> => journal.run(date, () => delay(20));
    const lateProvider = like(shared, {
      async tryAcquire(...request) {
        await delay(200);
        return shared.tryAcquire(...request);
      },
    });
    schedule(fleet, fleet.replica(shared), handler, { name });
    const ticks = await answered(schedule(fleet, fleet.replica(lateProvider), handler, { name }), 3);
    expect(ticks).toHaveLength(3);
    expect(ticks.map((tick) => journal.runs.get(tick))).toEqual([1, 1, 1]);
  });

  it.concurrent('runs no tick while an earlier one still runs, on this replica or another', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('long');
    const journal = new Journal();
    const tasks = [0, 1].map(() =>
      schedule(fleet, fleet.replica(provider), ({ date }) => journal.run(date, () => delay(1_300)), { name }),
    );
    await Promise.all([journal.atLeast(2), ...tasks.map((each) => answered(each, 2))]);
    expect(journal.overlap).toBe(1);
  });

  it.concurrent('lets a replica whose clock is 300 ms ahead run each tick once, and not before its time', async ({ fleet }) => {
    const now = (): number => Date.now() - 300;
    const provider = memory({ now });
    const name = uniqueName('ahead');
    const journal = new Journal();
    const earlyMs: number[] = [];
    const handler = ({ date }: ScheduleContext): Promise<void> => {
      earlyMs.push(date.getTime() - now());
      return journal.run(date, Promise.resolve());
    };
    const tasks = [0, 1].map(() => schedule(fleet, fleet.replica(provider), handler, { name }));
    const [ticks = []] = await Promise.all(tasks.map((each) => answered(each, 2)));
    expect(Math.max(...earlyMs)).toBeLessThanOrEqual(0);
    expect(ticks.map((tick) => journal.runs.get(tick))).toEqual([1, 1]);
  });

  it.concurrent('claims nothing for a tick that stop() catches in its random delay', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('stopped');
    const handler = vi.fn<() => void>();
    const job = schedule(fleet, solo, handler, { name, maxRandomDelay: FOREVER_DELAYED });
    await heard(job, 'execution:started');
    await job.stop();
    expect(await solo.inspect(name)).toBeUndefined();
    expect(handler).not.toHaveBeenCalled();
  });
});

describe('schedule: failures and takeovers', () => {
  it.concurrent('has a replica that stands by run a failed tick again', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('standby');
    const options = { name, onBusy: 'standby', attempts: 2 } as const;
    const attempts: Pick<ScheduleContext, 'date' | 'attempt' | 'recovering'>[] = [];
    const handler = async ({ date, attempt, recovering }: ScheduleContext): Promise<void> => {
      attempts.push({ date, attempt, recovering });
      await delay(50);
      if (attempt === 1) throw new Error('disk full');
    };
    const tasks = [0, 1].map(() => schedule(fleet, fleet.replica(provider), handler, options));
    const [failed, recovered] = await Promise.all([
      Promise.race(tasks.map((each) => heard(each, 'execution:failed'))),
      Promise.race(tasks.map((each) => heard(each, 'execution:finished', ({ execution }) => ran(execution?.result)))),
    ]);
    expect(failed.execution?.error?.message).toBe('disk full');
    expect(recovered.date).toEqual(failed.date);
    expect(attempts.slice(0, 2)).toEqual([
      { date: failed.date, attempt: 1, recovering: false },
      { date: failed.date, attempt: 2, recovering: true },
    ]);
  });

  it.concurrent('has a replica that stands by take over from one that is cut off, whose handler is told first', async ({
    fleet,
  }) => {
    const shared = memory();
    const cutOff = like(shared, { renew: () => new Promise(() => {}) });
    const name = uniqueName('takeover');
    const terms = { onBusy: 'standby', attempts: 2, leaseMs: 400 } as const;
    const order: string[] = [];
    let hasIt = (_context: ScheduleContext): void => {};
    const claimed = new Promise<ScheduleContext>((resolve) => {
      hasIt = resolve;
    });
    const first = schedule(
      fleet,
      fleet.replica(cutOff),
      async (context) => {
        const { signal, attempt } = context;
        hasIt(context);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        order.push(`aborted ${attempt}`);
        signal.throwIfAborted();
      },
      { name, ...terms },
    );
    const failure = heard(first, 'execution:failed');
    const { date } = await claimed;
    const takenOver = new Promise<RunContext>((resolve) => {
      const second = (context: RunContext): void => {
        order.push(`took over ${context.attempt}`);
        resolve(context);
      };
      void fleet.replica(shared).run(name, second, { ...terms, occurrence: date });
    });
    expect(await takenOver).toMatchObject({ attempt: 2, recovering: true });
    expect((await failure).execution?.error).toBeInstanceOf(LeaseLostError);
    expect(order.slice(0, 2)).toEqual(['aborted 1', 'took over 2']);
  });

  it.concurrent("makes a handler's rejection the error of node-cron's execution", async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('failing');
    const failure = new Error('disk full');
    const job = schedule(fleet, solo, () => Promise.reject(failure), { name });
    const { execution } = await heard(job, 'execution:failed');
    expect(execution?.error).toBe(failure);
    expect(await solo.inspect(name)).toMatchObject({ lastError: 'disk full', occurrence: { state: 'failed' } });
  });

  it.concurrent('fails the execution, and runs nothing, when the provider cannot be asked', async ({ fleet }) => {
    const provider = like(memory(), { tryAcquire: () => Promise.reject(new Error('connection refused')) });
    const handler = vi.fn<() => void>();
    const { execution } = await heard(
      schedule(fleet, fleet.replica(provider), handler, { name: uniqueName('trouble') }),
      'execution:failed',
    );
    expect(execution?.error).toBeInstanceOf(ProviderError);
    expect(handler).not.toHaveBeenCalled();
  });
});

describe('schedule: what handlers and listeners get', () => {
  it.concurrent("hands over node-cron's context and the run's, and the tick as date after a random delay", async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('context');
    const told = new Promise<ScheduleContext>((resolve) => {
      const handler = (context: ScheduleContext): void => {
        context.checkpoint();
        if (context.remainingMs() > 0) resolve(context);
      };
      schedule(fleet, solo, handler, { name, maxRandomDelay: 300 });
    });
    const context = await told;
    expect(context.date.getTime() % 1_000).toBe(0);
    expect(context).toMatchObject({
      name,
      dateLocalIso: expect.any(String),
      triggeredAt: expect.any(Date),
      task: { name },
      execution: { reason: 'scheduled' },
      occurrence: { at: context.date, attempt: 1, recovering: false },
      signal: expect.any(AbortSignal),
      fence: 1n,
      attempt: 1,
      recovering: false,
    });
  });

  it.concurrent('makes the result of the run that of the execution, skipped ones included', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('result');
    const tasks = [0, 1].map(() => schedule(fleet, fleet.replica(provider), () => delay(50, 'backed up'), { name }));
    const results = await Promise.all(
      tasks.map(async (each) => (await heard(each, 'execution:finished')).execution?.result as RunResult<string>),
    );
    const byStatus = results.toSorted((a, b) => a.status.localeCompare(b.status));
    expect(byStatus).toMatchObject([
      { status: 'ran', value: 'backed up' },
      { status: 'skipped', reason: 'held' },
    ]);
  });

  it.concurrent('passes node-cron options through', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const job = schedule(fleet, solo, () => {}, {
      name: uniqueName('options'),
      timezone: 'Asia/Tokyo',
      maxExecutions: 1,
      noOverlap: true,
    });
    expect(job.runsLeft()).toBe(1);
    const destroyed = heard(job, 'task:destroyed');
    const { dateLocalIso } = await heard(job, 'execution:finished');
    expect(dateLocalIso).toMatch(/\+09:00$/u);
    await destroyed;
  });

  it('keeps a digest of expression and time zone in the record', async ({ fleet }) => {
    const hashOf = async (expression: string, timezone: string): Promise<string | undefined> => {
      const solo = fleet.replica(memory());
      const name = uniqueName('hash');
      const job = schedule(fleet, solo, () => {}, { name, timezone }, expression);
      await heard(job, 'execution:finished');
      return (await solo.inspect(name))?.scheduleHash;
    };
    const [one, same, otherZone, otherTime] = await Promise.all([
      hashOf(EVERY_SECOND, 'UTC'),
      hashOf(' *  * * * * *', 'UTC'),
      hashOf(EVERY_SECOND, 'Asia/Tokyo'),
      hashOf('*/1 * * * * *', 'UTC'),
    ]);
    expect(one).toMatch(/^[0-9a-f]{16}$/u);
    expect(same).toBe(one);
    expect(new Set([one, otherZone, otherTime]).size).toBe(3);
  });

  it.concurrent('ends the schedule, and what runs, with its signal', async ({ fleet }) => {
    const stop = new AbortController();
    const started = gate();
    const job = schedule(
      fleet,
      fleet.replica(memory()),
      async ({ signal }) => {
        started.open();
        await delay(60_000, undefined, { signal });
      },
      { name: uniqueName('signal'), signal: stop.signal },
    );
    await started.opened;
    const failed = heard(job, 'execution:failed');
    stop.abort();
    await failed;
    expect(job.getStatus()).toBe('destroyed');
    expect(cron.getTask(job.id)).toBeUndefined();
  });
});

describe('schedule: many of them', () => {
  it('may share one signal without a warning of too many listeners', async ({ fleet }) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const stop = new AbortController();
    const solo = fleet.replica(memory());
    const jobs = Array.from({ length: 30 }, () =>
      schedule(fleet, solo, () => {}, { name: uniqueName('many'), signal: stop.signal }, '0 0 1 1 *'),
    );
    expect(warned.mock.calls).toEqual([]);
    warned.mockRestore();
    await jobs[0]!.destroy();
    stop.abort();
    expect(jobs.map((job) => job.getStatus())).toEqual(jobs.map(() => 'destroyed'));
  });

  it('need names of their own on a solo: which of two would run a tick is chance', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('twice');
    const before = cron.getTasks().size;
    const first = schedule(fleet, solo, () => 'first', { name }, '0 0 1 1 *');
    expect(() => plainSchedule(solo, EVERY_SECOND, () => {}, { name })).toThrow(/called twice for "twice-/u);
    expect(cron.getTasks().size).toBe(before + 1);
    await first.destroy();
    expect(await schedule(fleet, solo, () => 'second', { name }, '0 0 1 1 *').execute()).toMatchObject({ value: 'second' });
  });
});

describe('schedule: a provider that is away when the tick comes', () => {
  /** Until it has been asked in vain by both. */
  const away = (): { provider: LockProvider; comeBack: () => void; asked: Promise<void> } => {
    const sound = memory();
    const both = gate();
    let inVain = 0;
    let isAway = true;
    const provider = like(sound, {
      tryAcquire(...request) {
        if (!isAway) return sound.tryAcquire(...request);
        if ((inVain += 1) === 2) both.open();
        return Promise.reject(new Error('ECONNREFUSED'));
      },
    });
    return { provider, comeBack: () => void (isAway = false), asked: both.opened };
  };

  it.concurrent('is asked again, and the tick is run when it is back, once in the fleet', async ({ fleet }) => {
    const { provider, comeBack, asked } = away();
    const name = uniqueName('outage');
    const journal = new Journal();
    // No second tick follows, whose turn it would be then.
    const at = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 1_000);
    const expression = `${at.getSeconds()} ${at.getMinutes()} ${at.getHours()} * * *`;
    const jobs = [0, 1].map(() =>
      schedule(fleet, fleet.replica(provider), ({ date }) => journal.run(date, delay(1)), { name }, expression),
    );
    const answers = Promise.all(jobs.map((job) => answered(job, 1)));
    await asked;
    comeBack();
    await answers;
    expect([...journal.runs]).toEqual([[at.getTime(), 1]]);
  });

  it.concurrent("fails the tick at once with onOutage: 'fail'", async ({ fleet }) => {
    const { provider } = away();
    const job = schedule(fleet, fleet.replica(provider), () => {}, { name: uniqueName('outage'), onOutage: 'fail' });
    const { execution } = await heard(job, 'execution:failed');
    expect(execution?.error).toBeInstanceOf(ProviderError);
  });
});

describe('schedule: task.execute(), of which coordinators are not told', () => {
  it('runs under the lock, for no occurrence', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('invoked');
    const job = schedule(
      fleet,
      solo,
      ({ occurrence, fence }) => ({ occurrence, fence }),
      { name, attempts: 2, onBusy: 'standby' },
      '0 0 1 1 *',
    );
    expect(await job.execute()).toMatchObject({ status: 'ran', value: { occurrence: undefined, fence: 1n } });
    expect(await solo.inspect(name)).toMatchObject({ held: false, occurrence: undefined });
  });

  it('is skipped while the handler runs on another replica', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('invoked-twice');
    const started = gate();
    const end = gate();
    const handler = (): Promise<void> => {
      started.open();
      return end.opened;
    };
    const [a, b] = [0, 1].map(() => schedule(fleet, fleet.replica(provider), handler, { name, onBusy: 'standby' }, '0 0 1 1 *'));
    const first = a?.execute();
    await started.opened;
    expect(await b?.execute()).toMatchObject({ status: 'skipped', reason: 'held' });
    end.open();
    expect(await first).toMatchObject({ status: 'ran' });
  });

  it('heeds the other policies', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('invoked-policy');
    const solo = fleet.replica(provider);
    const lease = await solo.acquire(name, { waitMs: 0 });
    const throwing = schedule(fleet, fleet.replica(provider), () => {}, { name, onBusy: 'throw' }, '0 0 1 1 *');
    await expect(throwing.execute()).rejects.toThrow(LockBusyError);
    const waiting = schedule(
      fleet,
      fleet.replica(provider),
      () => 'waited',
      { name, onBusy: 'wait', waitMs: 10_000 },
      '0 0 1 1 *',
    ).execute();
    await lease.release();
    expect(await waiting).toMatchObject({ status: 'ran', value: 'waited' });
  });
});

describe('schedule: options that cannot work', () => {
  const solo = (fleet: Fleet): Solo => fleet.replica(memory());
  const handler = (): void => {};

  it('needs a name', ({ fleet }) => {
    // @ts-expect-error no name
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, {})).toThrow(/needs a name/u);
    // @ts-expect-error no options
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler)).toThrow(OptionError);
  });

  it('points to soloCoordinator for a file', ({ fleet }) => {
    // @ts-expect-error not a function
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, './backup.js', { name: 'x' })).toThrow(/soloCoordinator/u);
  });

  it('decides by itself: no coordinator, no occurrence', ({ fleet }) => {
    // @ts-expect-error not an option here
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', distributed: true })).toThrow(
      /leave out distributed/u,
    );
    const runCoordinator = { shouldRun: () => true };
    // @ts-expect-error not an option here
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', runCoordinator })).toThrow(OptionError);
    // @ts-expect-error not an option here
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', occurrence: new Date() })).toThrow(/is the tick/u);
  });

  it('refuses a slip of an option, of its own and of node-cron, and nothing that only a later node-cron has', ({ fleet }) => {
    const given = (options: object): unknown => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', ...options });
    expect(() => given({ waitMS: 5 })).toThrow('There is no option "waitMS" of schedule(); did you mean waitMs?');
    expect(() => given({ timeZone: 'UTC' })).toThrow(/did you mean timezone\?/u);
    expect(() => given({ noOverlaps: true })).toThrow(/did you mean noOverlap\?/u);
    void fleet
      .tracked(plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: uniqueName('later'), somethingNew: 1 } as ScheduleOptions))
      .destroy();
  });

  it('reports once, at once, a provider that is not there', async ({ fleet }) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const away = like(memory(), {
      examine: async () => [{ check: 'server', state: 'unreachable', says: 'cannot be reached: ECONNREFUSED' }],
    });
    const replica = fleet.replica(away);
    for (const name of [uniqueName('a'), uniqueName('b')]) schedule(fleet, replica, handler, { name }, '0 0 1 1 *');
    await vi.waitFor(() => expect(warned).toHaveBeenCalled());
    const told = warned.mock.calls.filter(([message]) => String(message).includes('is not ready'));
    expect(told).toEqual([[expect.stringContaining('cannot be reached: ECONNREFUSED; start it'), { code: 'SOLORUN_NOT_READY' }]]);
    warned.mockRestore();
  });

  it('keeps the schedule in the record, for people to read', async ({ fleet }) => {
    const name = uniqueName('text');
    const replica = fleet.replica(memory());
    await answered(schedule(fleet, replica, handler, { name, timezone: 'UTC' }), 1);
    expect(await replica.inspect(name)).toMatchObject({ schedule: { expression: EVERY_SECOND, timezone: 'UTC' } });
  });

  it('checks the options of the run before the first tick, and leaves no task behind', ({ fleet }) => {
    const before = cron.getTasks().size;
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', attempts: 0 })).toThrow(OptionError);
    // @ts-expect-error onBusy: 'wait' needs waitMs
    expect(() => plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', onBusy: 'wait' })).toThrow(/waitMs/u);
    expect(() => plainSchedule(solo(fleet), 'no cron', handler, { name: 'x' })).toThrow(/illegal characters|expected 5 or 6/u);
    expect(() =>
      plainSchedule(solo(fleet), EVERY_SECOND, handler, { name: 'x', signal: AbortSignal.abort(new Error('stopped')) }),
    ).toThrow('stopped');
    expect(cron.getTasks().size).toBe(before);
  });
});

const ran = (result: unknown): boolean => (result as RunResult<unknown> | undefined)?.status === 'ran';
