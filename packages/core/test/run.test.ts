import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { LeaseLostError, RunTimeoutError, type LockProvider, type RunContext } from '../src/index.ts';
import {
  at,
  createStage,
  deferred,
  listen,
  mustAcquire,
  names,
  pass,
  rejection,
  settle,
  silence,
  timersLeft,
  useFakeTime,
  watch,
} from './stage.ts';

useFakeTime();

/** A handler that runs until its signal aborts, and then takes a while. */
const heedful =
  (ms = 0) =>
  ({ signal }: RunContext): Promise<string> =>
    new Promise((resolve) =>
      signal.addEventListener('abort', () => {
        setTimeout(() => resolve('stopped'), ms);
      }),
    );

describe('a run', () => {
  it('resolves to what the handler returned, once the lock is given back', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    const run = watch(solo.run('job', () => new Promise((resolve) => setTimeout(() => resolve('value'), 1_234))));
    await pass(1_234);
    expect(run.value).toEqual({
      status: 'ran',
      value: 'value',
      fence: 1n,
      occurrence: undefined,
      attempt: 1,
      durationMs: 1_234,
      released: true,
    });
    expect(names(told)).toEqual(['acquired', 'released']);
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastDurationMs: 1_234 });
    expect(await timersLeft()).toBe(0);
  });

  it('tells its handler what it is for', async () => {
    const { replica } = createStage();
    const contexts: RunContext[] = [];
    await replica().run('job', (context) => void contexts.push(context));
    await replica().run('job', (context) => void contexts.push(context), { occurrence: at(0), attempts: 3 });
    expect(contexts[0]).toMatchObject({ name: 'job', fence: 1n, occurrence: undefined, attempt: 1, recovering: false });
    expect(contexts[1]).toMatchObject({
      fence: 2n,
      attempt: 1,
      recovering: false,
      occurrence: { at: at(0), attempt: 1, recovering: false },
    });
  });

  it.each(Array.from({ length: 24 }, (_, turns) => turns))(
    'never begins its handler with a lease that is over, also if that ends %i turns after the grant',
    async (turns) => {
      const { provider, replica, stall } = createStage();
      const solo = replica();
      let later = turns;
      const turn = (): void => {
        if ((later -= 1) < 0) stall(29_000);
        else queueMicrotask(turn);
      };
      solo.on('acquired', turn);
      const remaining: number[] = [];
      const run = watch(solo.run('job', ({ remainingMs }) => void remaining.push(remainingMs()), { occurrence: at(0) }));
      await settle();
      const began = remaining.length > 0;
      expect(remaining).toEqual(began ? [28_500] : []);
      // If no handler has run, the occurrence is left to others.
      const { occurrence } = (await provider.inspect('job')) ?? {};
      expect(began || (run.error instanceof LeaseLostError && occurrence === undefined)).toBe(true);
    },
  );

  it('keeps the lock until the handler has settled, however long that takes', async () => {
    const { provider, replica, asked } = createStage();
    const gate = deferred();
    const run = watch(replica().run('job', () => gate.promise));
    await pass(300_000);
    expect(await provider.inspect('job')).toMatchObject({ held: true });
    expect(asked('release')).toBe(0);
    gate.resolve();
    await settle();
    expect(run.value).toMatchObject({ status: 'ran' });
    expect(asked('release')).toBe(1);
  });

  it('runs a handler that is not asynchronous, too', async () => {
    const { provider, replica } = createStage();
    expect(await replica().run('job', () => 42)).toMatchObject({ value: 42 });
    const broke = new Error('broke');
    const thrower = (): never => {
      throw broke;
    };
    expect(await rejection(replica().run('job', thrower))).toBe(broke);
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastError: 'broke' });
  });

  it('leaves no listener on the signal of its caller', async () => {
    const caller = new AbortController();
    const solo = createStage().replica();
    await solo.run('job', () => {}, { signal: caller.signal });
    await rejection(
      solo.run('job', () => Promise.reject(new Error('broke')), { signal: caller.signal, onBusy: 'wait', waitMs: 1 }),
    );
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
  });

  it('leaves none there, nor on that of its solo, by a try that took a while', async () => {
    const caller = new AbortController();
    const { provider, replica } = createStage();
    const tryAcquire: LockProvider['tryAcquire'] = async (request, signal) => provider.tryAcquire(request, signal);
    const solo = replica({ provider: { ...provider, tryAcquire } });
    const before = getEventListeners(solo.signal, 'abort').length;
    expect(await solo.run('job', () => {}, { signal: caller.signal })).toMatchObject({ status: 'ran' });
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
    expect(getEventListeners(solo.signal, 'abort')).toHaveLength(before);
  });

  it('is one of many on one solo, and nobody warns of too many listeners', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createStage().replica();
    const gate = deferred();
    const runs = Array.from({ length: 50 }, (_, i) => solo.run(`job ${i}`, () => gate.promise));
    await settle();
    gate.resolve();
    await Promise.all(runs);
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('a handler that asks', () => {
  it('is told by confirm() what checkpoint() cannot know yet: that the provider has given its lease to somebody else', async () => {
    const { provider, replica } = createStage();
    const steps: string[] = [];
    const run = watch(
      replica().run('job', async ({ checkpoint, confirm, remainingMs }) => {
        await new Promise((resolve) => setTimeout(resolve, 5_000));
        await confirm();
        steps.push(`confirmed, ${remainingMs()} ms left`);
        const record = (await provider.inspect('job'))!;
        await provider.release({ ...record, attempt: 1 }, { result: 'done' }, new AbortController().signal);
        checkpoint();
        steps.push('checkpoint passed');
        await confirm();
        steps.push('confirmed again');
      }),
    );
    await pass(5_000);
    expect(steps).toEqual(['confirmed, 28500 ms left', 'checkpoint passed']);
    expect(run.error).toMatchObject({ name: 'LeaseLostError', reason: 'taken' });
  });

  it('is told that the provider could not be asked, and keeps its lease', async () => {
    const { replica } = createStage(() => ({ renew: () => Promise.reject(new Error('ECONNRESET')) }));
    const run = watch(
      replica().run('job', async ({ confirm, signal }) => {
        const error = await rejection(confirm());
        expect(error).toMatchObject({ name: 'ProviderError', operation: 'confirm "job"' });
        return signal.aborted;
      }),
    );
    await settle();
    expect(run.value).toMatchObject({ value: false });
  });

  it('is told the reason by confirm(), too, when it was asked to stop', async () => {
    const caller = new AbortController();
    const run = watch(
      createStage()
        .replica()
        .run('job', ({ confirm }) => rejection((caller.abort(new Error('enough')), confirm())), { signal: caller.signal }),
    );
    await settle();
    expect(run.value).toMatchObject({ value: caller.signal.reason });
  });
});

describe('a handler that fails', () => {
  it('is what the run rejects with, after the lock is given back', async () => {
    const { provider, replica, calls } = createStage();
    const solo = replica();
    const told = listen(solo);
    const broke = new Error('broke: postgres://me:geheim@db/x');
    expect(await rejection(solo.run('job', () => Promise.reject(broke), { occurrence: at(0) }))).toBe(broke);
    expect(calls.at(-1)).toMatchObject({
      verb: 'release',
      detail: { result: 'failed', error: 'broke: postgres://***@db/x' },
    });
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: { state: 'failed' } });
    expect(names(told)).toEqual(['acquired', 'released', 'failed']);
    expect(told[2]).toMatchObject({ error: broke, fence: 1n, occurrence: { at: at(0), attempt: 1 } });
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('ECONNRESET'))],
    ['hangs', silence<boolean>],
    ['says that it was not ours', async () => false],
    [
      'throws',
      () => {
        throw new Error('ECONNRESET');
      },
    ],
  ])('is what the run rejects with, even if the release %s', async (_, release) => {
    const { replica } = createStage(() => ({ release }));
    const broke = new Error('broke');
    const run = watch(replica().run('job', () => Promise.reject(broke)));
    await pass(60_000);
    expect(run).toMatchObject({ state: 'rejected', error: broke });
    expect(run.error).toBe(broke);
    expect(await timersLeft()).toBe(0);
  });

  it.each([
    ['nothing', undefined],
    ['a string', 'broke'],
    ['an object that cannot be made a string', Object.create(null)],
    ['an error whose message is no string', Object.assign(new Error(), { message: { code: 7 } })],
  ])('may throw anything: %s', async (_, thrown) => {
    const { provider, replica } = createStage();
    expect(await rejection(replica().run('job', () => Promise.reject(thrown as Error)))).toBe(thrown);
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastError: expect.any(String) });
    expect(await timersLeft()).toBe(0);
  });

  it('leaves its occurrence to another attempt while one is left', async () => {
    const { replica } = createStage();
    const attempts: number[] = [];
    const run = (): Promise<unknown> =>
      replica().run(
        'job',
        async ({ attempt }) => {
          attempts.push(attempt);
          throw new Error('broke');
        },
        { occurrence: at(0), attempts: 3 },
      );
    for (let i = 0; i < 3; i += 1) await rejection(run());
    expect(await run()).toMatchObject({ status: 'skipped', reason: 'exhausted' });
    expect(attempts).toEqual([1, 2, 3]);
  });
});

describe('a run that cannot give its lock back', () => {
  it('has run all the same, and says that the provider does not know', async () => {
    const { replica } = createStage(() => ({ release: () => Promise.reject(new Error('ECONNRESET')) }));
    const solo = replica();
    const told = listen(solo);
    const run = watch(solo.run('job', () => 'value'));
    await pass(60_000);
    expect(run.value).toMatchObject({ status: 'ran', value: 'value', released: false });
    expect(new Set(names(told))).toEqual(new Set(['acquired', 'unconfirmed']));
  });

  it('has not run cleanly if the lock turns out to have been taken', async () => {
    const { replica } = createStage(() => ({ release: async () => false }));
    const solo = replica();
    const told = listen(solo);
    const error = await rejection(solo.run('job', () => 'value'));
    expect(error).toBeInstanceOf(LeaseLostError);
    expect(error).toMatchObject({ reason: 'taken', result: 'value', fence: 1n });
    expect(names(told)).toEqual(['acquired', 'failed']);
  });
});

describe('a run whose lease is lost', () => {
  it('asks its handler to stop, and rejects with what it returned all the same', async () => {
    const { provider, replica } = createStage(() => ({ renew: silence }));
    const solo = replica();
    const told = listen(solo);
    const run = watch(solo.run('job', heedful(), { occurrence: at(0) }));
    await pass(28_501);
    expect(run.error).toBeInstanceOf(LeaseLostError);
    expect(run.error).toMatchObject({ reason: 'expired', result: 'stopped', cause: { reason: 'expired' } });
    expect(names(told)).toEqual(['acquired', 'unconfirmed', 'lost', 'failed']);
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: { state: 'failed' } });
  });

  it('is no success, even if nobody noticed before the handler returned', async () => {
    const { replica, stall } = createStage();
    const run = replica().run('job', () => {
      stall(28_500);
      return 'value';
    });
    expect(await rejection(run)).toMatchObject({ name: 'LeaseLostError', reason: 'expired', result: 'value' });
  });

  it('rejects with the error of its handler if it has one', async () => {
    const { replica, stall } = createStage();
    const broke = new Error('broke');
    const run = replica().run('job', () => {
      stall(60_000);
      throw broke;
    });
    expect(await rejection(run)).toBe(broke);
  });

  it('stops at the next checkpoint', async () => {
    const { replica, stall } = createStage();
    const steps: number[] = [];
    const run = replica().run('job', ({ checkpoint, remainingMs }) => {
      for (let step = 0; ; step += 1) {
        checkpoint();
        steps.push(remainingMs());
        stall(10_000);
      }
    });
    expect(await rejection(run)).toBeInstanceOf(LeaseLostError);
    expect(steps).toEqual([28_500, 18_500, 8_500]);
  });

  it('does not touch the run of its successor', async () => {
    const { provider, replica } = createStage(() => ({ renew: silence }));
    const gate = deferred();
    const late = watch(replica().run('job', () => gate.promise));
    await pass(30_000);
    const successor = watch(replica({ leaseMs: 600_000 }).run('job', silence));
    await settle();
    gate.resolve();
    await settle();
    expect(late.error).toBeInstanceOf(LeaseLostError);
    expect(successor.state).toBe('pending');
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: 2n });
  });
});

describe('a run that is to stop', () => {
  it('is asked to when it takes longer than maxRunMs, and keeps its lock until it has stopped', async () => {
    const { provider, replica } = createStage();
    let reason: unknown;
    const run = watch(
      replica().run(
        'job',
        async (context) => {
          await heedful(5_000)(context);
          reason = context.signal.reason;
          expect(() => context.checkpoint()).toThrow(RunTimeoutError);
          return 'stopped';
        },
        { maxRunMs: 10_000 },
      ),
    );
    await pass(14_999);
    expect(await provider.inspect('job')).toMatchObject({ held: true });
    await pass(1);
    expect(reason).toMatchObject({ name: 'RunTimeoutError', lock: 'job', maxRunMs: 10_000 });
    expect(run.value).toMatchObject({ status: 'ran', value: 'stopped', released: true });
    expect(await timersLeft()).toBe(0);
  });

  it('hears nothing of maxRunMs once it is over', async () => {
    const signals: AbortSignal[] = [];
    const solo = createStage().replica();
    await solo.run('job', ({ signal }) => void signals.push(signal), { maxRunMs: 1_000 });
    await pass(10_000);
    expect(signals[0]!.aborted).toBe(false);
  });

  it('is asked to by its caller', async () => {
    const caller = new AbortController();
    const reason = new Error('the request was cancelled');
    const run = watch(
      createStage()
        .replica()
        .run(
          'job',
          async (context) => {
            await heedful()(context);
            throw context.signal.reason;
          },
          { signal: caller.signal },
        ),
    );
    await pass(1_000);
    caller.abort(reason);
    await pass(1);
    expect(run.error).toBe(reason);
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
  });

  it('does not start when its caller gave up while the provider answered, and its claim is undone', async () => {
    const caller = new AbortController();
    const { provider, replica } = createStage();
    const solo = replica();
    solo.on('acquired', () => caller.abort(new Error('never mind')));
    const run = solo.run('job', () => expect.unreachable(), { signal: caller.signal, occurrence: at(0) });
    expect(await rejection(run)).toMatchObject({ message: 'never mind' });
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: undefined });
  });

  it('does not start when its solo closed while the provider answered, and its claim is undone', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const closed = new Promise((resolve) => solo.on('acquired', () => resolve(solo.close())));
    const result = await solo.run('job', () => expect.unreachable(), { occurrence: at(0) });
    expect(result).toMatchObject({ status: 'skipped', reason: 'closed' });
    await closed;
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: undefined });
  });
});

describe('a handler that does not heed its signal', () => {
  it('is told to be stuck after its grace, and its lease is kept', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    const stuck: unknown[] = [];
    const gate = deferred();
    const run = watch(
      solo.run('job', () => gate.promise, { maxRunMs: 1_000, graceMs: 5_000, onStuck: (what) => void stuck.push(what) }),
    );
    await pass(5_999);
    expect(stuck).toEqual([]);
    await pass(1);
    expect(stuck).toEqual([{ name: 'job', runningMs: 6_000 }]);
    expect(told.at(-1)).toMatchObject({ event: 'stuck', name: 'job', fence: 1n, runningMs: 6_000 });
    await pass(120_000);
    expect(stuck).toHaveLength(1);
    expect(await provider.inspect('job')).toMatchObject({ held: true });
    gate.resolve();
    await settle();
    expect(run.value).toMatchObject({ status: 'ran' });
  });

  it('is not told to be stuck when it stops in time', async () => {
    const onStuck = vi.fn<() => void>();
    const run = watch(createStage().replica().run('job', heedful(4_999), { maxRunMs: 1_000, graceMs: 5_000, onStuck }));
    await pass(60_000);
    expect(run.state).toBe('resolved');
    expect(onStuck).not.toHaveBeenCalled();
  });

  it('harms nobody by an onStuck that throws', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const gate = deferred();
    const onStuck = (): never => {
      throw new Error('broke');
    };
    const run = watch(
      createStage()
        .replica()
        .run('job', () => gate.promise, { maxRunMs: 1_000, graceMs: 0, onStuck }),
    );
    await pass(2_000);
    gate.resolve();
    await settle();
    expect(run.state).toBe('resolved');
    expect(warned).toHaveBeenCalledOnce();
  });
});

describe('occurrences over a fleet', () => {
  it('run once, however late the other replicas are', async () => {
    const { replica } = createStage();
    const fleet = Array.from({ length: 5 }, () => replica());
    let ran = 0;
    for (let minute = 0; minute < 10; minute += 1) {
      for (const solo of fleet) {
        await solo.run('job', () => (ran += 1), { occurrence: at(minute * 60) });
        await pass(2_000);
      }
      await pass(50_000);
    }
    expect(ran).toBe(10);
  });

  it('overlap with nothing of the same name, not even another occurrence', async () => {
    const { replica } = createStage();
    void replica().run('job', silence, { occurrence: at(0) });
    await pass(60_000);
    expect(await replica().run('job', () => expect.unreachable(), { occurrence: at(60) })).toMatchObject({ reason: 'held' });
    await mustAcquire(replica(), 'another job');
  });
});
