import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import {
  ClosedError,
  LockBusyError,
  LockTimeoutError,
  OptionError,
  ProviderError,
  type AcquireRequest,
  type LockProvider,
  type RunOptions,
  type Solo,
} from '../src/index.ts';
import {
  at,
  createStage,
  deferred,
  listen,
  mustAcquire,
  mustClaim,
  names,
  pass,
  rejection,
  settle,
  silence,
  start,
  timersLeft,
  useFakeTime,
  watch,
} from './stage.ts';

useFakeTime();

const unreachable = (): never => expect.unreachable();

/** A process claims an occurrence and dies: nothing is renewed or released. */
async function crash(provider: LockProvider, more: Partial<AcquireRequest> = {}): Promise<void> {
  const holder = { host: 'host-b', pid: 7, label: 'worker-3' };
  const request = { name: 'job', owner: `dead ${Math.random()}`, leaseMs: 30_000, holder, ...more };
  const result = await provider.tryAcquire(request, new AbortController().signal);
  expect(result.acquired).toBe(true);
}

describe('skip', () => {
  it('is what happens unless something else is said: one try, and who holds it', async () => {
    const { provider, replica, asked } = createStage();
    await crash(provider);
    await pass(10_000);
    const solo = replica();
    const told = listen(solo);
    const tries = asked('tryAcquire');
    expect(await solo.run('job', unreachable)).toEqual({
      status: 'skipped',
      reason: 'held',
      holder: { host: 'host-b', pid: 7, label: 'worker-3', since: start },
      retryAt: at(30),
    });
    expect(asked('tryAcquire')).toBe(tries + 1);
    expect(told).toMatchObject([
      { event: 'busy', name: 'job', heldForMs: 10_000, holder: { label: 'worker-3' } },
      { event: 'skipped', name: 'job', reason: 'held', holder: { label: 'worker-3' } },
    ]);
    expect(await timersLeft()).toBe(0);
  });

  it('tells when the holder may be gone only where a lease ends', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { leaseMs: null });
    expect(await replica().run('job', unreachable)).toMatchObject({ status: 'skipped', reason: 'held', retryAt: undefined });
  });

  it('tells whether the occurrence has run', async () => {
    const solo = createStage().replica();
    await solo.run('job', () => {}, { occurrence: at(0) });
    expect(await solo.run('job', unreachable, { occurrence: at(0) })).toMatchObject({ reason: 'done' });
    expect(await solo.run('job', unreachable, { occurrence: at(-1) })).toMatchObject({ reason: 'superseded' });
  });
});

describe('throw', () => {
  it('rejects with an error that names the lock, its holder and since when', async () => {
    const { provider, replica } = createStage();
    await crash(provider);
    await pass(12_000);
    const error = await rejection(replica().run('job', unreachable, { onBusy: 'throw' }));
    expect(error).toBeInstanceOf(LockBusyError);
    expect(error).toMatchObject({ lock: 'job', code: 'SOLORUN_BUSY', holder: { host: 'host-b', pid: 7 } });
    expect((error as Error).message).toContain('Cannot acquire "job": held by worker-3@host-b (pid 7) for 12 s.');
  });

  it('skips an occurrence that is done: nobody is in the way', async () => {
    const solo = createStage().replica();
    await solo.run('job', () => {}, { occurrence: at(0) });
    expect(await solo.run('job', unreachable, { onBusy: 'throw', occurrence: at(0) })).toMatchObject({ reason: 'done' });
  });
});

describe('what is in the way and is no holder', () => {
  const detail = 'its row is locked by a transaction (process 4711): end it';
  const blocked = (): ReturnType<typeof createStage> =>
    createStage(() => ({ tryAcquire: () => ({ acquired: false, reason: 'held', detail }) }));

  it('is told in the result, and in events', async () => {
    const solo = blocked().replica();
    const told = listen(solo);
    expect(await solo.run('job', unreachable)).toMatchObject({ status: 'skipped', reason: 'held', detail });
    expect(told).toMatchObject([
      { event: 'busy', detail },
      { event: 'skipped', detail },
    ]);
  });

  it('is told in errors, in the place of the holder', async () => {
    const solo = blocked().replica();
    expect(await rejection(solo.run('job', unreachable, { onBusy: 'throw' }))).toMatchObject({
      name: 'LockBusyError',
      message: expect.stringMatching(/^Cannot acquire "job": its row is locked by a transaction \(process 4711\): end it\. /),
    });
    const waiting = watch(solo.acquire('job', { waitMs: 1_000 }));
    await pass(1_000);
    expect(waiting.error).toMatchObject({
      name: 'LockTimeoutError',
      message: `Cannot acquire "job": ${detail}, gave up after 1000 ms.`,
    });
  });
});

describe('retry', () => {
  const retrying = (retry: object): RunOptions => ({ onBusy: 'retry', retry });

  it('tries as often as it was told, at the times it was told, and then skips', async () => {
    const { provider, replica, calls } = createStage();
    await crash(provider);
    const solo = replica();
    const told = listen(solo);
    const result = watch(
      solo.run('job', unreachable, retrying({ retries: 4, minMs: 100, factor: 3, maxMs: 1_000, jitter: 'none' })),
    );
    await pass(10_000);
    expect(result).toMatchObject({ state: 'resolved', value: { status: 'skipped', reason: 'held' } });
    const tries = calls.slice(1).map(({ atMs }) => atMs - calls[1]!.atMs);
    expect(tries).toEqual([0, 100, 400, 1_300, 2_300]);
    // Told when first noticed, not at every try.
    expect(names(told)).toEqual(['busy', 'skipped']);
  });

  it('does not try again with retries: 0', async () => {
    const { provider, replica, asked } = createStage();
    await crash(provider);
    expect(await replica().run('job', unreachable, retrying({ retries: 0 }))).toMatchObject({ status: 'skipped' });
    expect(asked('tryAcquire')).toBe(2);
  });

  it('waits a random part of each delay', async () => {
    const { provider, replica, calls } = createStage();
    await crash(provider);
    vi.spyOn(Math, 'random').mockReturnValue(0.25);
    void replica().run('job', unreachable, retrying({ retries: 2, minMs: 1_000, factor: 2 }));
    await pass(10_000);
    expect(calls.slice(1).map(({ atMs }) => atMs - calls[1]!.atMs)).toEqual([0, 250, 750]);
  });

  it('runs as soon as a try succeeds', async () => {
    const { replica } = createStage();
    const holder = await mustAcquire(replica());
    const result = watch(replica().run('job', () => 'mine', retrying({ retries: 100, minMs: 100, jitter: 'none' })));
    await pass(1_000);
    await holder.release();
    expect(result.state).toBe('pending');
    await pass(10_000);
    expect(result).toMatchObject({ value: { status: 'ran', value: 'mine' } });
  });

  it('stops when its caller gives up, and keeps no listener', async () => {
    const { provider, replica } = createStage();
    await crash(provider);
    const caller = new AbortController();
    const result = watch(replica().run('job', unreachable, { ...retrying({ retries: 100 }), signal: caller.signal }));
    await pass(1_000);
    const reason = new Error('never mind');
    caller.abort(reason);
    await settle();
    expect(result).toMatchObject({ state: 'rejected', error: reason });
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
    expect(await timersLeft()).toBe(0);
  });

  it('rejects at the first failure of the provider', async () => {
    const { replica, asked } = createStage(() => ({ tryAcquire: () => Promise.reject(new Error('ECONNREFUSED')) }));
    expect(await rejection(replica().run('job', unreachable, retrying({})))).toBeInstanceOf(ProviderError);
    expect(asked('tryAcquire')).toBe(1);
  });
});

describe('waiting', () => {
  it('is first come, first served within a process', async () => {
    const { replica } = createStage();
    const holder = await mustAcquire(replica());
    const solo = replica();
    const served: number[] = [];
    const gates = Array.from({ length: 5 }, () => deferred());
    const runs = gates.map((gate, i) =>
      solo.run(
        'job',
        async () => {
          served.push(i);
          await gate.promise;
        },
        { onBusy: 'wait', waitMs: Number.POSITIVE_INFINITY },
      ),
    );
    await pass(20_000);
    await holder.release();
    for (const gate of gates) {
      await settle();
      gate.resolve();
    }
    await Promise.all(runs);
    expect(served).toEqual([0, 1, 2, 3, 4]);
    expect(await timersLeft()).toBe(0);
  });

  it('hands over within a process without any time passing, even if the provider gives no hints', async () => {
    const { replica } = createStage(() => ({ untilFree: undefined as never }));
    const solo = replica();
    const holder = await mustAcquire(solo);
    const waiting = watch(solo.acquire('job', { waitMs: 60_000 }));
    await pass(10_000);
    await holder.release();
    await settle();
    expect(waiting.state).toBe('resolved');
  });

  it('takes over when the holder is gone and its lease has run out, and hardly later', async () => {
    const { provider, replica } = createStage();
    await crash(provider);
    const waiting = watch(replica().acquire('job', { waitMs: 60_000 }));
    await pass(29_999);
    expect(waiting.state).toBe('pending');
    await pass(30);
    expect(waiting.state).toBe('resolved');
  });

  it('gives up after waitMs with an error that names the holder', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { leaseMs: 600_000 });
    const solo = replica();
    const waiting = watch(solo.acquire('job', { waitMs: 10_000 }));
    await pass(9_999);
    expect(waiting.state).toBe('pending');
    await pass(1);
    expect(waiting.error).toBeInstanceOf(LockTimeoutError);
    expect(waiting.error).toMatchObject({ code: 'SOLORUN_TIMEOUT', lock: 'job', waitedMs: 10_000, holder: { host: 'host-b' } });
    expect((waiting.error as Error).message).toMatch(
      /^Cannot acquire "job": held by worker-3@host-b \(pid 7\) for \d+ (m?s), gave up/,
    );
    expect(await timersLeft()).toBe(0);
  });

  it('tries once when it may not wait at all', async () => {
    const { replica, asked } = createStage();
    const solo = replica();
    const lease = await solo.acquire('job', { waitMs: 0 });
    const waiting = watch(replica().acquire('job', { waitMs: 0 }));
    await pass(1);
    expect(waiting.error).toBeInstanceOf(LockTimeoutError);
    expect(asked('tryAcquire')).toBe(2);
    await lease.release();
  });

  it('tries once even from the end of a line', async () => {
    const { provider, replica } = createStage();
    await crash(provider);
    const solo = replica();
    const first = watch(solo.acquire('job', { waitMs: 60_000 }));
    await settle();
    const second = watch(solo.acquire('job', { waitMs: 0 }));
    await pass(1);
    expect(second.error).toMatchObject({ name: 'LockTimeoutError', holder: { label: 'worker-3' } });
    await pass(60_000);
    expect(first.state).toBe('resolved');
  });

  it('does not cut a try short for lack of waiting time', async () => {
    const answer = deferred();
    const { replica } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        await answer.promise;
        return sound.tryAcquire(request, signal);
      },
    }));
    const waiting = watch(replica().acquire('job', { waitMs: 10 }));
    await pass(1_000);
    expect(waiting.state).toBe('pending');
    answer.resolve();
    await settle();
    expect(waiting.state).toBe('resolved');
  });

  it('ends when the caller gives up: the next in line moves up, and no listener or timer stays', async () => {
    const { replica } = createStage();
    const holder = await mustAcquire(replica());
    const solo = replica();
    const caller = new AbortController();
    const [first, second, third] = [
      watch(solo.acquire('job', { waitMs: 60_000, signal: caller.signal })),
      watch(solo.acquire('job', { waitMs: 60_000, signal: caller.signal })),
      watch(solo.acquire('job', { waitMs: 60_000 })),
    ];
    await pass(1_000);
    const reason = new Error('never mind');
    caller.abort(reason);
    await settle();
    expect([first.error, second.error, third.state]).toEqual([reason, reason, 'pending']);
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
    await holder.release();
    await settle();
    expect(third.state).toBe('resolved');
    await solo.close();
    expect(await timersLeft()).toBe(0);
  });

  it('does not begin for a caller that has given up', async () => {
    const { replica, asked } = createStage();
    const reason = new Error('never mind');
    const signal = AbortSignal.abort(reason);
    const solo = replica();
    expect(await rejection(solo.acquire('job', { waitMs: 1_000, signal }))).toBe(reason);
    expect(await rejection(solo.tryAcquire('job', { signal }))).toBe(reason);
    expect(await rejection(solo.run('job', unreachable, { signal }))).toBe(reason);
    expect(asked('tryAcquire')).toBe(0);
  });

  it('ends when the solo closes', async () => {
    const { replica } = createStage();
    await mustAcquire(replica());
    const solo = replica();
    const byHand = watch(solo.acquire('job', { waitMs: Number.POSITIVE_INFINITY }));
    const run = watch(solo.run('job', unreachable, { onBusy: 'wait', waitMs: Number.POSITIVE_INFINITY }));
    await pass(1_000);
    await solo.close();
    expect(byHand.error).toBeInstanceOf(ClosedError);
    expect(run.value).toMatchObject({ status: 'skipped', reason: 'closed' });
  });

  it('costs the provider one place, however many wait here', async () => {
    let standing = 0;
    let mostStanding = 0;
    const { replica, asked } = createStage((sound) => ({
      async untilFree(request, signal) {
        standing += 1;
        mostStanding = Math.max(mostStanding, standing);
        await sound.untilFree!(request, signal);
        standing -= 1;
      },
    }));
    const holder = await mustAcquire(replica());
    const solo = replica();
    const waiting = Array.from({ length: 200 }, async () => (await solo.acquire('job', { waitMs: 60_000 })).release());
    await pass(4_000);
    expect([standing, asked('untilFree')]).toEqual([1, 1]);
    expect(asked('tryAcquire')).toBeLessThan(5);
    await holder.release();
    await settle();
    await Promise.all(waiting);
    expect(mostStanding).toBe(1);
    expect(standing).toBe(0);
  });

  it('tells once that somebody is in the way', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { leaseMs: 600_000 });
    const solo = replica();
    const told = listen(solo);
    void rejection(solo.acquire('job', { waitMs: 60_000 }));
    await pass(120_000);
    expect(told).toMatchObject([{ event: 'busy', name: 'job', holder: { host: 'host-b' } }]);
  });

  it('polls, and not in step with others, where the provider gives no hints', async () => {
    const { provider, replica, asked } = createStage(() => ({ untilFree: undefined as never }));
    await crash(provider, { leaseMs: 600_000 });
    void rejection(replica().acquire('job', { waitMs: 60_000 }));
    await pass(60_000);
    // Ceilings of 25, 50, … 1,000 ms, of which half is spent on average.
    expect(asked('tryAcquire')).toBeGreaterThan(60);
    expect(asked('tryAcquire')).toBeLessThan(240);
  });

  it('looks again now and then, should a hint be lost', async () => {
    const { provider, replica } = createStage(() => ({ untilFree: silence }));
    const lease = await mustAcquire(replica());
    const waiting = watch(replica().acquire('job', { waitMs: 60_000 }));
    await pass(1_000);
    await lease.release();
    await pass(7_000);
    expect(waiting.state).toBe('resolved');
    expect(await provider.inspect('job')).toMatchObject({ held: true });
  });

  it('keeps its place at the provider while it looks', async () => {
    const { provider, replica, calls, asked } = createStage();
    await crash(provider, { leaseMs: 600_000 });
    void rejection(replica().acquire('job', { waitMs: 60_000 }));
    await pass(30_000);
    expect(asked('untilFree')).toBe(1);
    expect(asked('tryAcquire')).toBeGreaterThan(3);
    const owners = new Set(calls.slice(1).map(({ detail }) => (detail as AcquireRequest).owner));
    expect(owners.size).toBe(1);
  });

  it('is not driven mad by hints that are always false', async () => {
    const { provider, replica, asked } = createStage(() => ({ untilFree: async () => {} }));
    await crash(provider, { leaseMs: 600_000 });
    const waiting = watch(replica().acquire('job', { waitMs: 10_000 }));
    await pass(10_001);
    expect(waiting.error).toBeInstanceOf(LockTimeoutError);
    expect(asked('tryAcquire')).toBeLessThan(1_100);
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('LISTEN failed'))],
    [
      'throws',
      () => {
        throw new Error('LISTEN failed');
      },
    ],
  ])('polls, and tells of it, when the hint %s', async (_, untilFree) => {
    const { replica, asked } = createStage(() => ({ untilFree }));
    const holder = await mustAcquire(replica());
    const solo = replica();
    const told = listen(solo);
    const waiting = watch(solo.acquire('job', { waitMs: 60_000 }));
    await pass(5_000);
    expect(asked('tryAcquire')).toBeLessThan(60);
    expect(told.find(({ event }) => event === 'unconfirmed')).toMatchObject({ operation: 'wait' });
    await holder.release();
    await pass(1_100);
    expect(waiting.state).toBe('resolved');
  });
});

describe('a provider that cannot be asked', () => {
  const outage = (): {
    provider: Partial<LockProvider>;
    begin: () => void;
    end: () => void;
    stage: ReturnType<typeof createStage>;
  } => {
    let down = false;
    const stage = createStage((sound) => ({
      tryAcquire: (request, signal) =>
        down ? Promise.reject(new Error('connect ECONNREFUSED postgres://me:geheim@db')) : sound.tryAcquire(request, signal),
    }));
    return { provider: stage.provider, stage, begin: () => (down = true), end: () => (down = false) };
  };

  it('starts no handler: the caller is told why', async () => {
    const { stage, begin } = outage();
    begin();
    for (const options of [
      {},
      { onBusy: 'throw' },
      { onBusy: 'retry' },
      { onBusy: 'wait', waitMs: 60_000, onOutage: 'fail' },
      { onBusy: 'wait', waitMs: 0 },
      { onBusy: 'standby', occurrence: at(0), onOutage: 'fail' },
    ] as const) {
      const error = await rejection(stage.replica().run('job', unreachable, options));
      expect(error).toBeInstanceOf(ProviderError);
      expect(error).toMatchObject({ code: 'SOLORUN_PROVIDER', provider: 'memory', operation: 'acquire "job"' });
      expect((error as Error).message).toBe('memory: cannot acquire "job": connect ECONNREFUSED postgres://***@db');
      expect((error as Error).cause).toMatchObject({ message: expect.stringContaining('ECONNREFUSED') });
    }
    expect(await timersLeft()).toBe(0);
  });

  it('starts no handler when it never answers: a call takes as long as it may and no longer', async () => {
    const { replica } = createStage(() => ({ tryAcquire: silence }));
    const run = watch(replica({ callTimeoutMs: 2_000 }).run('job', unreachable));
    await pass(1_999);
    expect(run.state).toBe('pending');
    await pass(1);
    expect(run.error).toMatchObject({ name: 'ProviderError', message: 'memory: cannot acquire "job": no answer within 2000 ms' });
  });

  it('does not outlive the trust in a lease with one call', async () => {
    const { replica } = createStage(() => ({ tryAcquire: silence }));
    const run = watch(replica({ leaseMs: 4_000 }).run('job', unreachable));
    await pass(3_799);
    expect(run.state).toBe('pending');
    await pass(1);
    expect(run.state).toBe('rejected');
  });

  it.each([
    ['stands by', { onBusy: 'standby', occurrence: at(0) }],
    ['waits', { onBusy: 'wait', waitMs: 10_000 }],
    ['skips, if it was told to', { onBusy: 'skip', onOutage: 'retry' }],
    ['throws, if it was told to', { onBusy: 'throw', outageMs: 5_000, occurrence: at(0) }],
    ['tries again, if it was told to', { onBusy: 'retry', onOutage: 'retry' }],
  ] as const)('is asked again by a run that %s, also if it never answered before', async (_, options) => {
    const { stage, begin, end } = outage();
    begin();
    const solo = stage.replica();
    const told = listen(solo);
    const run = watch(solo.run('job', () => 'ran after all', options));
    await pass(2_000);
    expect(run.state).toBe('pending');
    expect(told[0]).toMatchObject({ event: 'unconfirmed', operation: 'acquire', error: { name: 'ProviderError' } });
    // A few times, and not in a hurry.
    expect(stage.asked('tryAcquire')).toBeGreaterThan(2);
    expect(stage.asked('tryAcquire')).toBeLessThan(30);
    end();
    await pass(5_000);
    expect(run.value).toMatchObject({ status: 'ran', value: 'ran after all' });
    expect(await timersLeft()).toBe(0);
  });

  it.each([
    ['a minute', 60_000, { onBusy: 'standby', occurrence: at(0) }],
    ['as long as it waits', 300_000, { onBusy: 'wait', waitMs: 300_000 }],
    ['as long as it was told', 5_000, { onBusy: 'standby', occurrence: at(0), outageMs: 5_000 }],
    ['as long as it was told, and not as long as it waits', 5_000, { onBusy: 'wait', waitMs: 300_000, outageMs: 5_000 }],
  ] as const)('is waited for %s and no longer: then the caller is told why', async (_, longestMs, options) => {
    const { stage, begin } = outage();
    begin();
    const run = watch(stage.replica().run('job', unreachable, options));
    await pass(longestMs - 1);
    expect(run.state).toBe('pending');
    await pass(1);
    expect(run.error).toMatchObject({ name: 'ProviderError', message: expect.stringContaining('ECONNREFUSED') });
    expect(await timersLeft()).toBe(0);
  });

  it('is waited for again after it has answered', async () => {
    const { stage, begin, end } = outage();
    const holder = await mustAcquire(stage.replica());
    const run = watch(stage.replica().run('job', () => {}, { onBusy: 'standby', occurrence: at(0), outageMs: 10_000 }));
    for (let outages = 0; outages < 3; outages += 1) {
      begin();
      await pass(8_000);
      end();
      await pass(7_000);
    }
    expect(run.state).toBe('pending');
    await holder.release();
    await settle();
    expect(run.value).toMatchObject({ status: 'ran' });
  });

  it('is no longer waited for on behalf of an occurrence once a later one is due', async () => {
    const { stage, begin, end } = outage();
    begin();
    const solo = stage.replica();
    const ran: string[] = [];
    const run = (name: string, occurrence: Date): ReturnType<typeof watch> =>
      watch(
        solo.run(name, () => void ran.push(`${name} ${occurrence.getTime() - at(0).getTime()}`), { onBusy: 'standby', occurrence }),
      );
    const [first, other] = [run('job', at(0)), run('other', at(0))];
    await pass(10_000);
    const second = run('job', at(10));
    await settle();
    expect(first.error).toMatchObject({
      name: 'ProviderError',
      message: 'memory: cannot acquire "job": connect ECONNREFUSED postgres://***@db, and a later occurrence is due by now',
    });
    expect([second.state, other.state]).toEqual(['pending', 'pending']);
    end();
    await pass(5_000);
    expect(ran.sort()).toEqual(['job 10000', 'other 0']);
    expect(await timersLeft()).toBe(0);
  });

  it('is not waited for by a caller that has given up, nor by a solo that closes', async () => {
    const { stage, begin } = outage();
    begin();
    const caller = new AbortController();
    const solo = stage.replica();
    const [given, closed] = [
      watch(solo.run('job', unreachable, { outageMs: 60_000, signal: caller.signal })),
      watch(solo.run('job', unreachable, { outageMs: 60_000 })),
    ];
    await pass(1_000);
    caller.abort(new Error('enough'));
    await settle();
    expect(given.error).toBe(caller.signal.reason);
    await solo.close();
    expect(closed.value).toMatchObject({ status: 'skipped', reason: 'closed' });
    expect(await timersLeft()).toBe(0);
  });

  it.each([
    { onOutage: 'ignore' },
    { outageMs: -1 },
    { outageMs: '5s' },
    { onOutage: 'fail', outageMs: 5_000 },
    { onBusy: 'wait', waitMs: 1, onOutage: 'fail', outageMs: 5_000 },
  ])('is not asked with options that make no sense: %j', async (options) => {
    const { replica, asked } = createStage();
    expect(await rejection(replica().run('job', unreachable, options as RunOptions))).toBeInstanceOf(OptionError);
    expect(asked('tryAcquire')).toBe(0);
  });

  it('does not end a wait that had begun: it is told, and the wait goes on', async () => {
    const { stage, begin, end } = outage();
    const holder = await mustAcquire(stage.replica());
    const solo = stage.replica();
    const told = listen(solo);
    const waiting = watch(solo.acquire('job', { waitMs: 600_000 }));
    await pass(1_000);
    begin();
    await pass(60_000);
    expect(waiting.state).toBe('pending');
    expect(names(told).slice(0, 2)).toEqual(['busy', 'unconfirmed']);
    expect(told[1]).toMatchObject({ operation: 'acquire', error: { name: 'ProviderError' } });
    expect(told.length).toBeLessThan(60);
    await holder.release();
    end();
    await pass(6_000);
    expect(waiting.state).toBe('resolved');
  });

  it('lasts no longer for those that stand in line than for the first of them', async () => {
    const { stage, begin } = outage();
    begin();
    const solo = stage.replica();
    const waits = Array.from({ length: 5 }, () =>
      watch(solo.run('job', unreachable, { onBusy: 'wait', waitMs: 600_000, outageMs: 10_000 })),
    );
    await pass(5_000);
    const late = watch(solo.run('job', unreachable, { onBusy: 'wait', waitMs: 600_000, outageMs: 10_000 }));
    await pass(5_000);
    expect(waits.map(({ error }) => (error as Error | undefined)?.name)).toEqual(Array.from({ length: 5 }, () => 'ProviderError'));
    // For one that came later it has lasted for less long.
    expect(late.state).toBe('pending');
    await pass(5_000);
    expect(late.error).toMatchObject({ name: 'ProviderError' });
    expect(await timersLeft()).toBe(0);
  });

  it('is told in a process warning a minute, when it lasts', async () => {
    const { stage, begin, end } = outage();
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    begin();
    const solo = stage.replica();
    const waiting = watch(solo.acquire('job', { waitMs: Number.POSITIVE_INFINITY }));
    watch(solo.acquire('another job', { waitMs: Number.POSITIVE_INFINITY }));
    await pass(9_000);
    expect(warned).not.toHaveBeenCalled();
    await pass(50_000);
    // Once for both, by whichever asks again first when its time has come.
    const words =
      /^memory: cannot acquire "(another )?job": connect ECONNREFUSED postgres:\/\/\*\*\*@db\. It is asked again, without end/;
    expect(warned.mock.calls).toEqual([[expect.stringMatching(words), { code: 'SOLORUN_OUTAGE' }]]);
    end();
    await pass(6_000);
    expect(waiting.state).toBe('resolved');
  });

  it('is named as the cause when the waiting time ends in the outage', async () => {
    const { stage, begin } = outage();
    await crash(stage.provider, { leaseMs: 600_000 });
    const waiting = watch(stage.replica().acquire('job', { waitMs: 60_000 }));
    await pass(1_000);
    begin();
    await pass(60_000);
    expect(waiting.error).toMatchObject({ name: 'LockTimeoutError', holder: { host: 'host-b' }, cause: { name: 'ProviderError' } });
  });

  it('gets a nonce of its own for each try after an unknown one, which is being undone by its nonce', async () => {
    const { stage, begin, end } = outage();
    await crash(stage.provider, { leaseMs: 600_000 });
    void rejection(stage.replica().acquire('job', { waitMs: 60_000 }));
    await pass(1_000);
    begin();
    await pass(20_000);
    end();
    await pass(50_000);
    const owners = stage.calls.filter(({ verb }) => verb === 'tryAcquire').map(({ detail }) => (detail as AcquireRequest).owner);
    const afterwards = owners.slice(owners.findIndex((owner, i) => i > 1 && owner !== owners[1]));
    expect(afterwards.length).toBeGreaterThan(4);
    expect(afterwards).not.toContain(owners[1]);
  });

  it('is not waited for when what it says will never change', async () => {
    let refuse = false;
    const { provider, replica } = createStage((sound) => ({
      tryAcquire: (request, signal) =>
        refuse ? Promise.reject(new OptionError('no such schema')) : sound.tryAcquire(request, signal),
    }));
    await crash(provider, { leaseMs: 600_000 });
    const waiting = watch(replica().acquire('job', { waitMs: 60_000 }));
    await settle();
    refuse = true;
    await pass(10_000);
    expect(waiting.error).toBeInstanceOf(OptionError);
  });
});

describe('an occurrence that is early by the provider’s clock', () => {
  it.each([{}, { onBusy: 'wait', waitMs: 60_000 }, { onBusy: 'standby' }, { onBusy: 'retry' }] as RunOptions[])(
    'is waited for, and the drift is told (%o)',
    async (policy) => {
      const solo = createStage().replica();
      const told = listen(solo);
      const run = watch(solo.run('job', () => Date.now(), { ...policy, occurrence: at(2.5) }));
      await pass(2_499);
      expect(run.state).toBe('pending');
      await pass(2);
      expect(run.value).toMatchObject({ status: 'ran', value: at(2.5).getTime() });
      expect(told[0]).toMatchObject({ event: 'drift', name: 'job', earlyMs: 2_500 });
      expect(names(told)).toEqual(['drift', 'acquired', 'released']);
    },
  );

  it('is told in a process warning, once, when it is a matter of more than a minute: a wait of hours must not look like a hang', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createStage().replica();
    const caller = new AbortController();
    const runs = [60, 61, 7_200].map((seconds) =>
      watch(solo.run('job', unreachable, { occurrence: at(seconds), signal: caller.signal })),
    );
    await settle();
    expect(warned).toHaveBeenCalledTimes(1);
    expect(warned.mock.calls[0]).toEqual([
      expect.stringMatching(/^"job" was asked for 2026-01-02T03:01:00.000Z, which by the provider's clock is only in 60 s/),
      { code: 'SOLORUN_EARLY' },
    ]);
    caller.abort(new Error('enough'));
    await settle();
    expect(runs.map(({ state }) => state)).toEqual(['rejected', 'rejected', 'rejected']);
  });

  it('is not worth an event when it is a matter of milliseconds', async () => {
    const solo = createStage().replica();
    const told = listen(solo);
    const run = solo.run('job', () => {}, { occurrence: at(0.099) });
    await pass(100);
    expect(await run).toMatchObject({ status: 'ran' });
    expect(names(told)).not.toContain('drift');
  });

  it('is no longer said to be what a wait was for once it was due', async () => {
    const solo = createStage().replica();
    const first = watch(
      solo.run('job', () => new Promise((resolve) => setTimeout(resolve, 20_000)), { onBusy: 'wait', waitMs: 1_000 }),
    );
    const waiting = watch(solo.run('job', () => {}, { occurrence: at(2), onBusy: 'wait', waitMs: 5_000 }));
    await pass(6_000);
    expect([first.state, (waiting.error as Error).message]).toEqual(['pending', expect.not.stringContaining('due only')]);
  });

  it('is said to be what a wait that has ended was for', async () => {
    const { replica } = createStage();
    const waiting = watch(replica().run('job', () => {}, { occurrence: at(60), onBusy: 'wait', waitMs: 10_000 }));
    await pass(10_000);
    expect(waiting.error).toMatchObject({
      name: 'LockTimeoutError',
      message: 'Cannot acquire "job": its occurrence is due only in 50 s, by the provider\'s clock, gave up after 10000 ms.',
      holder: undefined,
      settling: false,
    });
  });

  it('blocks nobody in line meanwhile', async () => {
    const { replica } = createStage();
    const solo = replica();
    const early = watch(solo.run('job', () => 'early', { occurrence: at(60), onBusy: 'wait', waitMs: 120_000 }));
    await settle();
    expect(await solo.run('job', () => 'now', { onBusy: 'wait', waitMs: 0 })).toMatchObject({ value: 'now' });
    await pass(60_000);
    expect(early.value).toMatchObject({ value: 'early' });
  });

  it('is left to others by a claim that may not wait so long', async () => {
    const solo = createStage().replica();
    const told = listen(solo);
    const claim = await solo.claim('job', { occurrence: at(10), maxEarlyMs: 3_000 });
    expect(claim).toMatchObject({ acquired: false, reason: 'early', earlyMs: 10_000 });
    expect(names(told)).toEqual(['drift', 'skipped']);
  });

  it.each([{}, { onBusy: 'wait', waitMs: 60_000 }, { onBusy: 'standby' }] as const)(
    'is left by a run that may not wait so long, and says when it is due: %o',
    async (policy) => {
      const solo = createStage().replica();
      const options = { occurrence: at(10), maxEarlyMs: 3_000, ...policy };
      const skipped = await solo.run('job', unreachable, options);
      expect(skipped).toMatchObject({ status: 'skipped', reason: 'early', retryAt: at(10) });
      await pass(8_000);
      const soon = watch(solo.run('job', () => 'on time', options));
      await pass(2_000);
      expect(soon.value).toMatchObject({ value: 'on time' });
    },
  );

  it('is claimed on time by a claim that may wait so long', async () => {
    const claim = watch(
      createStage()
        .replica()
        .claim('job', { occurrence: at(2), maxEarlyMs: 3_000 }),
    );
    await pass(2_000);
    expect(claim.value).toMatchObject({ acquired: true });
  });

  it('does not outlive its caller or its solo', async () => {
    const solo = createStage().replica();
    const caller = new AbortController();
    const abandoned = watch(solo.run('job', unreachable, { occurrence: at(60), signal: caller.signal }));
    const closed = watch(solo.run('job', unreachable, { occurrence: at(60) }));
    const closedClaim = watch(solo.claim('job', { occurrence: at(60) }));
    await pass(1_000);
    caller.abort();
    await settle();
    expect(abandoned.error).toMatchObject({ name: 'AbortError' });
    await solo.close();
    expect(closed.value).toMatchObject({ status: 'skipped', reason: 'closed' });
    expect(closedClaim.error).toBeInstanceOf(ClosedError);
    expect(await timersLeft()).toBe(0);
  });
});

describe('standing by', () => {
  const standby = (occurrence: Date, attempts = 2): RunOptions => ({ onBusy: 'standby', occurrence, attempts });

  it('ends with a skip when the occurrence is done elsewhere', async () => {
    const { replica } = createStage();
    const holder = await mustClaim(replica(), { occurrence: at(0), attempts: 2 });
    const run = watch(replica().run('job', unreachable, standby(at(0))));
    await pass(120_000);
    expect(run.state).toBe('pending');
    await holder.release();
    await settle();
    expect(run.value).toMatchObject({ status: 'skipped', reason: 'done' });
    expect(await timersLeft()).toBe(0);
  });

  it('takes over an occurrence whose holder died, as its second attempt', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { occurrence: { at: at(0), attempts: 2 } });
    const solo = replica();
    const told = listen(solo);
    const run = watch(
      solo.run('job', ({ attempt, recovering, occurrence }) => ({ attempt, recovering, occurrence }), standby(at(0))),
    );
    await pass(29_000);
    expect(run.state).toBe('pending');
    await pass(1_100);
    const occurrence = { at: at(0), attempt: 2, recovering: true };
    expect(run.value).toMatchObject({ status: 'ran', attempt: 2, value: { attempt: 2, recovering: true, occurrence } });
    expect(names(told)).toEqual(['busy', 'acquired', 'released']);
  });

  it('takes over an occurrence whose handler failed, at once', async () => {
    const { replica } = createStage();
    const holder = await mustClaim(replica(), { occurrence: at(0), attempts: 2 });
    const run = watch(replica().run('job', ({ attempt }) => attempt, standby(at(0))));
    await settle();
    await holder.release({ result: 'failed', error: 'broke' });
    await settle();
    expect(run.value).toMatchObject({ status: 'ran', value: 2 });
  });

  it('does not run again what was to run at most once', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { occurrence: { at: at(0), attempts: 1 } });
    const run = watch(replica().run('job', unreachable, standby(at(0), 1)));
    await pass(31_000);
    expect(run.value).toMatchObject({ status: 'skipped', reason: 'exhausted' });
  });

  it('takes over from the dead just once, over a fleet that all stands by', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { occurrence: { at: at(0), attempts: 2 } });
    let started = 0;
    const runs = Array.from({ length: 20 }, () => replica().run('job', () => (started += 1), standby(at(0))));
    await pass(31_000);
    const results = await Promise.all(runs);
    expect(started).toBe(1);
    expect(results.filter(({ status }) => status === 'skipped')).toHaveLength(19);
  });

  it('for later occurrences is left to the newest of them: one late run, never a burst', async () => {
    const { replica } = createStage();
    const holder = await mustClaim(replica(), { occurrence: at(0) });
    const solo = replica();
    const ran: Date[] = [];
    const runs = [at(60), at(120), at(180)].map(() => null as unknown as ReturnType<typeof watch>);
    for (const [i, occurrence] of [at(60), at(120), at(180)].entries()) {
      await pass(60_000);
      runs[i] = watch(solo.run('job', () => void ran.push(occurrence), standby(occurrence)));
      await settle();
    }
    expect(runs.map(({ value }) => value)).toMatchObject([{ reason: 'superseded' }, { reason: 'superseded' }, undefined]);
    expect(runs[2]!.state).toBe('pending');
    await holder.release();
    await settle();
    expect(ran).toEqual([at(180)]);
    expect(await timersLeft()).toBe(0);
  });

  it('for a later occurrence gives way to a newer one that came first', async () => {
    const { replica } = createStage();
    await mustClaim(replica(), { occurrence: at(-300) });
    const solo = replica();
    const newest = watch(solo.run('job', () => {}, standby(at(-60))));
    await settle();
    expect(await solo.run('job', unreachable, standby(at(-120)))).toMatchObject({ reason: 'superseded' });
    expect(newest.state).toBe('pending');
  });

  it('for the occurrence that runs is not displaced by one that waits for the next', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { occurrence: { at: at(0), attempts: 2 } });
    const solo = replica();
    const ran: string[] = [];
    const same = watch(solo.run('job', ({ attempt }) => void ran.push(`first, attempt ${attempt}`), standby(at(0))));
    await pass(1_000);
    const next = watch(solo.run('job', () => void ran.push('second'), standby(at(1))));
    await pass(31_000);
    expect(ran).toEqual(['first, attempt 2', 'second']);
    expect([same.value, next.value]).toMatchObject([{ status: 'ran' }, { status: 'ran' }]);
  });

  it('begins anew after a caller gave up', async () => {
    const { replica } = createStage();
    const holder = await mustClaim(replica(), { occurrence: at(-300) });
    const solo = replica();
    const caller = new AbortController();
    const first = watch(solo.run('job', unreachable, { ...standby(at(-60)), signal: caller.signal }));
    await settle();
    caller.abort();
    await settle();
    expect(first.state).toBe('rejected');
    const second = watch(solo.run('job', () => 'second', standby(at(-120))));
    await settle();
    expect(second.state).toBe('pending');
    await holder.release();
    await settle();
    expect(second.value).toMatchObject({ value: 'second' });
  });

  it('keeps the names apart', async () => {
    const { replica } = createStage();
    const solo = replica();
    const a = await solo.claim('a', { occurrence: at(-300) });
    const b = await replica().claim('b', { occurrence: at(-300) });
    expect([a.acquired, b.acquired]).toEqual([true, true]);
    const runs = ['a', 'b'].map((name, i) => watch(replica().run(name, () => name, standby(at(-60 - i)))));
    await settle();
    expect(runs.map(({ state }) => state)).toEqual(['pending', 'pending']);
  });
});

describe('a missed occurrence', () => {
  it('is told once in the whole fleet, by whoever claims a later one', async () => {
    const { provider, replica } = createStage();
    await crash(provider, { occurrence: { at: at(0), attempts: 1 } });
    await pass(60_000);
    const solos = [replica(), replica()];
    const told = solos.map(listen);
    for (const solo of solos) await solo.run('job', () => {}, { occurrence: at(60) });
    await pass(60_000);
    for (const solo of solos) await solo.run('job', () => {}, { occurrence: at(120) });
    expect(told.flat().filter(({ event }) => event === 'missed')).toMatchObject([
      { name: 'job', occurrence: { at: at(0), state: 'claimed', attempt: 1 } },
    ]);
  });

  it('is one that failed for good, too', async () => {
    const { replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    await rejection(solo.run('job', () => Promise.reject(new Error('broke')), { occurrence: at(-60) }));
    await solo.run('job', () => {}, { occurrence: at(0) });
    expect(told.find(({ event }) => event === 'missed')).toMatchObject({ occurrence: { at: at(-60), state: 'failed' } });
  });

  it('is none that was done, nor one that is taken over, nor one behind a run without an occurrence', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    await solo.run('job', () => {}, { occurrence: at(-60) });
    await solo.run('job', () => {}, { occurrence: at(-30) });
    await crash(provider, { occurrence: { at: at(0), attempts: 2 } });
    await pass(30_000);
    await solo.run('job', () => {});
    await solo.run('job', () => {}, { occurrence: at(0), attempts: 2 });
    expect(names(told)).not.toContain('missed');
  });
});

describe('two schedules under one name', () => {
  const claim = (solo: Solo, seconds: number, scheduleHash: string): Promise<unknown> =>
    solo.run('job', () => {}, { occurrence: at(seconds), scheduleHash });

  it('are told of, each time by an event and once by a warning, when they claim it in turns', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { replica } = createStage();
    const [a, b] = [replica(), replica()];
    const told = [listen(a), listen(b)];
    for (let round = 0; round < 3; round += 1) {
      await claim(a, round - 20, 'aaaa');
      await claim(b, round - 19.5, 'bbbb');
    }
    const conflicts = told.map((events) => events.filter(({ event }) => event === 'scheduleConflict'));
    expect(conflicts.map(({ length }) => length)).toEqual([2, 2]);
    expect(conflicts[0]![0]).toMatchObject({ name: 'job', scheduleHash: 'aaaa', otherScheduleHash: 'bbbb' });
    expect(warned).toHaveBeenCalledTimes(2);
    expect(warned.mock.calls[0]).toEqual([
      expect.stringMatching(/^"job" is claimed for another schedule, digest bbbb, than the one here, digest aaaa \(/),
      { code: 'SOLORUN_SCHEDULE_CONFLICT' },
    ]);
  });

  it('are told of in one solo, too, and by one that is refused, with who holds the name', async () => {
    vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { replica } = createStage();
    const [solo, other] = [replica(), replica({ label: 'other' })];
    const told = listen(solo);
    await claim(solo, -20, 'aaaa');
    await claim(solo, -19, 'bbbb');
    await claim(solo, -18, 'aaaa');
    expect(told.filter(({ event }) => event === 'scheduleConflict')).toHaveLength(1);
    const gate = deferred();
    void other.run('job', () => gate.promise, { occurrence: at(-10), scheduleHash: 'cccc' });
    await settle();
    await claim(solo, -9, 'aaaa');
    expect(told.at(-2)).toMatchObject({ event: 'busy' });
    expect(told.findLast(({ event }) => event === 'scheduleConflict')).toMatchObject({
      otherScheduleHash: 'cccc',
      holder: { label: 'other' },
    });
    gate.resolve();
  });

  it('are one and its successor where a deployment changes the schedule, and nothing is told by the new one', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { replica } = createStage();
    const [before, after] = [replica(), replica()];
    await claim(before, -20, 'aaaa');
    const told = listen(after);
    for (const seconds of [-19, -18, -17]) await claim(after, seconds, 'bbbb');
    expect(names(told)).not.toContain('scheduleConflict');
    expect(warned).not.toHaveBeenCalled();
  });
});
