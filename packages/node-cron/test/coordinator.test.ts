import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { OptionError, ProviderError, type LockProvider, type Outcome, type Solo, type SoloEvents } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import cron, { type RunCoordinator, type TaskContext } from 'node-cron';
import { beforeEach, describe, expect, it, onTestFinished, vi, type MockInstance } from 'vitest';
import { soloCoordinator, type CoordinatorOptions } from '../src/index.ts';
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

const slot = new Date('2025-01-01T03:00:00.000Z');

const released = (solo: Solo): Promise<SoloEvents['released']> => new Promise((resolve) => solo.on('released', resolve));

/** A task of node-cron's that asks this coordinator. */
function task(
  fleet: Fleet,
  name: string,
  runCoordinator: RunCoordinator,
  handler: (context: TaskContext) => unknown,
  options = {},
) {
  return fleet.tracked(
    cron.schedule(EVERY_SECOND, handler, {
      name,
      distributed: true,
      runCoordinator,
      logger: quiet,
      suppressMissedWarning: true,
      ...options,
    }),
  );
}

beforeEach(assemble);

describe('soloCoordinator: which ticks run', () => {
  it.concurrent('does not run a tick twice when a replica fires 200 ms late and the job takes 20 ms', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('late');
    const journal = new Journal();
    const handler = ({ date }: TaskContext): Promise<void> => journal.run(date, () => delay(20));
    const punctual = soloCoordinator(fleet.replica(provider));
    const inner = soloCoordinator(fleet.replica(provider));
    const late: RunCoordinator = {
      ...inner,
      async shouldRun(key, ttlMs) {
        await delay(200);
        return inner.shouldRun(key, ttlMs);
      },
    };
    task(fleet, name, punctual, handler);
    const ticks = await answered(task(fleet, name, late, handler), 3);
    expect(ticks).toHaveLength(3);
    expect(ticks.map((tick) => journal.runs.get(tick))).toEqual([1, 1, 1]);
  });

  it.concurrent('runs no tick while an earlier one still runs on another replica', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('long');
    const journal = new Journal();
    const tasks = [0, 1].map(() =>
      task(fleet, name, soloCoordinator(fleet.replica(provider)), ({ date }) => journal.run(date, () => delay(1_300))),
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
    const handler = ({ date }: TaskContext): Promise<void> => {
      earlyMs.push(date.getTime() - now());
      return journal.run(date, Promise.resolve());
    };
    const tasks = [0, 1].map(() => task(fleet, name, soloCoordinator(fleet.replica(provider)), handler));
    const [ticks = []] = await Promise.all(tasks.map((each) => answered(each, 2)));
    expect(Math.max(...earlyMs)).toBeLessThanOrEqual(0);
    expect(ticks.map((tick) => journal.runs.get(tick))).toEqual([1, 1]);
  });

  it('rejects a tick that lies further ahead than may be waited for, and says that the clock is wrong', async ({ fleet }) => {
    const solo = fleet.replica(memory({ now: () => slot.getTime() - 10_000 }));
    const asked = soloCoordinator(solo).shouldRun(`ahead:${slot.toISOString()}`, 30_000);
    await expect(asked).rejects.toMatchObject({ code: 'SOLORUN_EARLY', message: expect.stringContaining('in 10000 ms') });
  });

  it.concurrent('keeps the lock while the handler runs for longer than its lease', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('renewed');
    const other = fleet.replica(provider);
    const mid = gate();
    const end = gate();
    task(fleet, name, soloCoordinator(fleet.replica(provider), { leaseMs: 200 }), async () => {
      await delay(600);
      mid.open();
      await end.opened;
    });
    await mid.opened;
    const lease = await other.tryAcquire(name);
    end.open();
    expect(lease).toBeUndefined();
  });

  it.concurrent('starts no later tick beside a handler that lost its lease, until it has settled', async ({ fleet }) => {
    const shared = memory();
    const provider = like(shared, { renew: async () => false });
    const name = uniqueName('lost');
    const solo = fleet.replica(provider);
    const lost = new Promise((resolve) => solo.on('lost', resolve));
    const journal = new Journal();
    const end = gate();
    const job = task(fleet, name, soloCoordinator(solo, { leaseMs: 150 }), ({ date }) => journal.run(date, end.opened));
    await lost;
    await heard(job, 'execution:skipped');
    await heard(job, 'execution:skipped');
    expect(journal.overlap).toBe(1);
    end.open();
    await journal.atLeast(2);
    expect(journal.overlap).toBe(1);
  });
});

describe('soloCoordinator: how a tick ends', () => {
  it.concurrent('marks the occurrence done after the run, and keeps it', async ({ fleet }) => {
    const provider = memory();
    const solo = fleet.replica(provider);
    const name = uniqueName('done');
    const over = released(solo);
    const context = heard(
      task(fleet, name, soloCoordinator(solo), () => {}),
      'execution:finished',
    );
    expect((await over).outcome).toBe('done');
    const record = await solo.inspect(name);
    expect(record).toMatchObject({ held: false, occurrence: { at: (await context).date, state: 'done' } });
  });

  it.concurrent('marks the occurrence failed when the handler rejects', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('failed');
    const over = released(solo);
    task(fleet, name, soloCoordinator(solo), () => Promise.reject(new Error('disk full')), { maxExecutions: 1 });
    expect((await over).outcome).toBe('failed');
    expect(await solo.inspect(name)).toMatchObject({ lastError: 'disk full', occurrence: { state: 'failed' } });
  });

  it.concurrent('undoes the claim at once when stop() cancels the random delay, where node-cron tells nobody', async ({
    fleet,
  }) => {
    const provider = memory();
    const solo = fleet.replica(provider);
    const name = uniqueName('stopped');
    const handler = vi.fn<() => void>();
    const coordinator = soloCoordinator(solo);
    const onComplete = vi.spyOn(coordinator, 'onComplete');
    const job = task(fleet, name, coordinator, handler, { maxRandomDelay: FOREVER_DELAYED });
    const { date } = await heard(job, 'execution:started');
    await turnOfTheLoop();
    expect(await solo.inspect(name)).toMatchObject({ held: true });
    const over = released(solo);
    await job.stop();
    expect((await over).outcome).toBe('abandoned');
    expect(handler).not.toHaveBeenCalled();
    expect(onComplete).not.toHaveBeenCalled();

    expect(await fleet.replica(provider).run(name, () => {}, { occurrence: date })).toMatchObject({ status: 'ran', attempt: 1 });
  });

  it.concurrent('sees tasks of the copy of node-cron that a program loads with require()', async ({ fleet }) => {
    const required = createRequire(import.meta.url)('node-cron') as typeof cron;
    expect(required.getTasks()).not.toBe(cron.getTasks());
    const solo = fleet.replica(memory());
    const name = uniqueName('required');
    const job = fleet.tracked(
      required.schedule(EVERY_SECOND, () => {}, {
        name,
        distributed: true,
        runCoordinator: soloCoordinator(solo),
        maxRandomDelay: FOREVER_DELAYED,
        logger: quiet,
      }),
    );
    await heard(job, 'execution:started');
    await turnOfTheLoop();
    const over = released(solo);
    await job.stop();
    expect((await over).outcome).toBe('abandoned');
  });

  it.concurrent('keeps the lock when stop() comes while the handler runs', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('running');
    const started = gate();
    const end = gate();
    const job = task(fleet, name, soloCoordinator(solo), async () => {
      started.open();
      await end.opened;
    });
    await started.opened;
    await turnOfTheLoop();
    const over = released(solo);
    await job.stop();
    expect(await solo.inspect(name)).toMatchObject({ held: true });
    end.open();
    expect((await over).outcome).toBe('done');
  });

  it.concurrent('keeps the lock when stop() comes from a listener of execution:started, which does not cancel the delay', async ({
    fleet,
  }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('stopped-at-once');
    const started = gate();
    const end = gate();
    const handler = async (): Promise<void> => {
      started.open();
      await end.opened;
    };
    const job = task(fleet, name, soloCoordinator(solo), handler, { maxRandomDelay: 200 });
    job.on('execution:started', () => job.stop());
    await started.opened;
    expect(await solo.inspect(name)).toMatchObject({ held: true });
    const over = released(solo);
    end.open();
    expect((await over).outcome).toBe('done');
  });

  it.concurrent('keeps the lock when stop() comes before the claim is answered, where node-cron runs the handler all the same', async ({
    fleet,
  }) => {
    const shared = memory();
    const asked = gate();
    const answer = gate();
    const provider = like(shared, {
      async tryAcquire(...request) {
        asked.open();
        await answer.opened;
        return shared.tryAcquire(...request);
      },
    });
    const solo = fleet.replica(provider);
    const name = uniqueName('stopped-early');
    const started = gate();
    const end = gate();
    const job = task(
      fleet,
      name,
      soloCoordinator(solo),
      async () => {
        started.open();
        await end.opened;
      },
      { maxRandomDelay: 200 },
    );
    await asked.opened;
    await job.stop();
    const over = released(solo);
    answer.open();
    await started.opened;
    expect(await solo.inspect(name)).toMatchObject({ held: true });
    end.open();
    expect((await over).outcome).toBe('done');
  });

  it('gives the lock back after maxRunMs if node-cron never tells, and warns', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const warn = spyOnWarnings();
    const over = released(solo);
    const coordinator = soloCoordinator(solo, { maxRunMs: 50 });
    expect(await coordinator.shouldRun(`nobody's:${slot.toISOString()}`, 30_000)).toBe(true);
    expect((await over).outcome).toBe('failed');
    expect(warn).toHaveBeenCalledWith(expect.stringContaining("nobody's"), { code: 'SOLORUN_UNHEARD' });
  });

  it('ends quietly when told twice, and when told of a tick it does not know', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const coordinator = soloCoordinator(solo);
    const key = `twice:${slot.toISOString()}`;
    await coordinator.onComplete(key);
    await coordinator.shouldRun(key, 30_000);
    await coordinator.onComplete('twice:2024-12-31T03:00:00.000Z');
    expect(await solo.inspect('twice')).toMatchObject({ held: true });
    await Promise.all([coordinator.onComplete(key), coordinator.onComplete(key)]);
    expect(await solo.inspect('twice')).toMatchObject({ held: false, occurrence: { state: 'done' } });
  });
});

describe('soloCoordinator: a provider in trouble', () => {
  it.concurrent('skips the tick with coordinator-error, and node-cron logs why', async ({ fleet }) => {
    const provider = like(memory(), { tryAcquire: () => Promise.reject(new Error('connection refused')) });
    const handler = vi.fn<() => void>();
    const error = vi.fn<(message: string | Error, error?: Error) => void>();
    const job = task(fleet, uniqueName('trouble'), soloCoordinator(fleet.replica(provider)), handler, {
      logger: { ...quiet, error },
    });
    const { reason } = await heard(job, 'execution:skipped');
    expect(reason).toBe('coordinator-error');
    expect(handler).not.toHaveBeenCalled();
    expect(error).toHaveBeenCalledWith(expect.any(String), expect.any(ProviderError));
    expect(String(error.mock.calls[0]?.[1])).toContain('connection refused');
  });

  it('gives up after maxWaitMs, and undoes a claim that is granted later', async ({ fleet }) => {
    const shared = memory();
    const answer = gate();
    let undone = (_outcome: Outcome): void => {};
    const outcome = new Promise<Outcome>((resolve) => {
      undone = resolve;
    });
    const provider: LockProvider = like(shared, {
      async tryAcquire(request) {
        await answer.opened;
        return shared.tryAcquire(request, new AbortController().signal);
      },
      async release(...args) {
        const ours = await shared.release(...args);
        undone(args[1]);
        return ours;
      },
    });
    const asked = soloCoordinator(fleet.replica(provider), { maxWaitMs: 50 }).shouldRun(`slow:${slot.toISOString()}`, 30_000);
    await expect(asked).rejects.toMatchObject({ code: 'SOLORUN_COORDINATOR_TIMEOUT' });
    answer.open();
    expect(await outcome).toEqual({ result: 'abandoned' });
    expect(await shared.inspect('slow')).toMatchObject({ held: false, occurrence: undefined });
  });

  it('says no, without an error, once the solo is closed', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const coordinator = soloCoordinator(solo);
    await solo.close();
    expect(await coordinator.shouldRun(`closed:${slot.toISOString()}`, 30_000)).toBe(false);
  });
});

describe('soloCoordinator: keys and options', () => {
  const hostile = [
    'with:colons',
    ':',
    'looks:like:2025-01-01T03:00:00.000Z',
    '2025-01-01T03:00:00.000Z:2025-01-01T03:00:00.000Z',
    '../../etc/passwd',
    "'; DROP TABLE jobs; --",
    '__proto__',
    'nächtliche Sicherung 🌙',
    '\n\u0000\t',
  ];
  it.for(hostile)('finds the name %j before the last 24 characters', async (name, { fleet }) => {
    const solo = fleet.replica(memory());
    const coordinator = soloCoordinator(solo);
    const key = `${name}:${slot.toISOString()}`;
    expect(await coordinator.shouldRun(key, 30_000)).toBe(true);
    expect(await solo.inspect(name)).toMatchObject({ held: true, occurrence: { at: slot } });
    await coordinator.onComplete(key);
    expect(await solo.inspect(name)).toMatchObject({ held: false, occurrence: { state: 'done' } });
  });

  it.for(['', 'no-slot', 'name:2025-13-01T00:00:00.000Z', 'name-2025-01-01T03:00:00.000Z', `:${slot.toISOString()}`])(
    'rejects %j, which is no key',
    async (key, { fleet }) => {
      const coordinator = soloCoordinator(fleet.replica(memory()));
      await expect(coordinator.shouldRun(key, 30_000)).rejects.toThrow(OptionError);
    },
  );

  it.for<CoordinatorOptions>([{ maxWaitMs: 0 }, { maxWaitMs: 5_000 }, { maxWaitMs: Number.NaN }, { maxRunMs: 0 }])(
    'refuses %j',
    (options, { fleet }) => {
      expect(() => soloCoordinator(fleet.replica(memory()), options)).toThrow(OptionError);
    },
  );

  it('keeps the lock for an hour at most when the task cannot be seen', async ({ fleet }) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    spyOnWarnings();
    const solo = fleet.replica(memory(), { leaseMs: null });
    const key = `unseen:${slot.toISOString()}`;
    expect(await soloCoordinator(solo).shouldRun(key, 30_000)).toBe(true);
    await vi.advanceTimersByTimeAsync(3_599_000);
    expect(await solo.inspect('unseen')).toMatchObject({ held: true });
    const over = released(solo);
    await vi.advanceTimersByTimeAsync(2_000);
    expect((await over).outcome).toBe('failed');
  });
});

/** As code of a program that stops tasks: called by the event loop, not from within node-cron. */
function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function spyOnWarnings(): MockInstance {
  const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
  onTestFinished(() => warn.mockRestore());
  return warn;
}
