import { describe, expect, it, vi } from 'vitest';
import {
  ClosedError,
  CloseTimeoutError,
  createSolo,
  OptionError,
  ProviderError,
  type JobRecord,
  type LockProvider,
  type RunContext,
} from '../src/index.ts';
import { memory } from '../src/memory.ts';
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

const heedful = ({ signal }: RunContext): Promise<string> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve('stopped')));

async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('a solo', () => {
  it('has no way to release what another process may hold by its name alone, without a fence', () => {
    const verbs = Object.entries(createStage().replica()).filter(([, value]) => typeof value === 'function');
    expect(verbs.map(([name]) => name).toSorted()).toEqual([
      'acquire',
      'checkOptions',
      'claim',
      'close',
      'elect',
      'explain',
      'forceRelease',
      'inspect',
      'list',
      'on',
      'pause',
      'pauses',
      'prune',
      'ready',
      'rerun',
      'resume',
      'run',
      'runs',
      'singleton',
      'tryAcquire',
    ]);
  });

  it('keeps out whoever else asks, in this process and in others', async () => {
    const { replica } = createStage();
    const [a, b] = [replica(), replica()];
    await mustAcquire(a);
    expect(await a.tryAcquire('job')).toBeUndefined();
    expect(await b.tryAcquire('job')).toBeUndefined();
    expect(await b.tryAcquire('another job')).toBeDefined();
  });

  it('asks for each acquisition under a nonce of its own', async () => {
    const { replica, calls } = createStage();
    const solo = replica();
    for (let i = 0; i < 20; i += 1) await (await mustAcquire(solo)).release();
    const owners = calls.filter(({ verb }) => verb === 'tryAcquire').map(({ detail }) => (detail as { owner: string }).owner);
    expect(new Set(owners).size).toBe(20);
  });

  it('shows who holds what by host, process and label', async () => {
    const { replica } = createStage();
    await mustAcquire(replica({ label: 'worker-3' }));
    const record = await replica().inspect('job');
    expect(record).toMatchObject({ held: true, holder: { pid: process.pid, label: 'worker-3', since: at(0) } });
  });

  it('lets a thousand ask at once, and gives to one', async () => {
    const { replica } = createStage();
    const solos = Array.from({ length: 10 }, () => replica());
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, i) => solos[i % 10]!.tryAcquire('job')));
    expect(leases.filter((lease) => lease !== undefined)).toHaveLength(1);
  });

  it('never has two handlers of one name at once, however many ask in whatever way', async () => {
    const { replica } = createStage();
    const solos = Array.from({ length: 3 }, () => replica());
    let running = 0;
    let most = 0;
    let ran = 0;
    const handler = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      ran += 1;
    };
    const all = Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        solos[i % 3]!.run('job', handler, i % 2 === 0 ? { onBusy: 'wait', waitMs: Number.POSITIVE_INFINITY } : { onBusy: 'retry' }),
      ),
    );
    await pass(120_000);
    await all;
    expect(most).toBe(1);
    expect(ran).toBeGreaterThanOrEqual(30);
    expect(await timersLeft()).toBe(0);
  });
});

describe('a namespace', () => {
  it('keeps programs apart that share a store, and shows nothing of itself', async () => {
    const { provider, replica } = createStage();
    const [billing, reports, bare] = [replica({ namespace: 'billing' }), replica({ namespace: 'reports' }), replica()];
    const told = listen(billing);
    for (const solo of [billing, reports, bare]) await mustAcquire(solo);
    expect(told).toMatchObject([{ name: 'job' }]);
    expect((await provider.inspect('billing/job'))?.held).toBe(true);
    expect(await billing.inspect('job')).toMatchObject({ name: 'job', held: true });
    expect(await billing.inspect('never')).toBeUndefined();
    const listed = await gathered(billing.list());
    expect(listed).toMatchObject([{ name: 'job', held: true }]);
    expect((await gathered(bare.list())).map(({ name }) => name).toSorted()).toEqual(['billing/job', 'job', 'reports/job']);
  });

  it('is no prefix of another', async () => {
    const { replica } = createStage();
    await mustAcquire(replica({ namespace: 'billing' }));
    expect(await gathered(replica({ namespace: 'bill' }).list())).toEqual([]);
  });
});

describe('asking about locks', () => {
  it('rejects with what was asked and why it cannot be told', async () => {
    const cause = new Error('ECONNREFUSED');
    const { replica } = createStage(() => ({
      inspect: () => Promise.reject(cause),
      // oxlint-disable-next-line require-yield
      async *list() {
        throw cause;
      },
    }));
    const solo = replica();
    for (const error of [await rejection(solo.inspect('job')), await rejection(gathered(solo.list()))]) {
      expect(error).toBeInstanceOf(ProviderError);
      expect(error).toMatchObject({ cause });
    }
  });

  it('takes no longer than a call may take', async () => {
    const { replica } = createStage(() => ({
      inspect: silence,
      list: () => ({ [Symbol.asyncIterator]: () => ({ next: silence }) }),
    }));
    const asked = [watch(replica().inspect('job')), watch(gathered(replica().list()))];
    await pass(5_000);
    for (const { error } of asked) expect(error).toBeInstanceOf(ProviderError);
  });

  it('lets go of a list that is not read to its end', async () => {
    let finished = false;
    const { replica } = createStage((sound) => ({
      async *list(prefix, signal) {
        try {
          yield* sound.list(prefix, signal);
        } finally {
          finished = true;
        }
      },
    }));
    const solo = replica();
    for (const name of ['a', 'b', 'c']) await mustAcquire(solo, name);
    for await (const { name } of solo.list()) {
      expect(name).toBe('a');
      break;
    }
    await settle();
    expect(finished).toBe(true);
  });

  it('is answered in the middle of everything else', async () => {
    const { replica } = createStage();
    const solo = replica();
    void solo.run('job', silence, { occurrence: at(0), scheduleHash: 'daily' });
    await pass(12_000);
    expect(await solo.inspect('job')).toMatchObject({
      held: true,
      fence: 1n,
      acquiredAt: at(0),
      expiresAt: at(40),
      occurrence: { at: at(0), state: 'claimed', attempt: 1 },
      scheduleHash: 'daily',
    });
  });
});

describe('checking options', () => {
  it('throws where a run would be refused, and asks no provider', async () => {
    const { replica, calls } = createStage();
    const solo = replica();
    expect(() => solo.checkOptions('')).toThrow(OptionError);
    expect(() => solo.checkOptions('job', { attempts: 2 })).toThrow(OptionError);
    expect(() => solo.checkOptions('job', { onBusy: 'standby' })).toThrow(OptionError);
    expect(() => solo.checkOptions('job', { maxRunMs: -1 })).toThrow(OptionError);
    expect(() => solo.checkOptions('job', { leaseMs: 0 })).toThrow(OptionError);
    expect(solo.checkOptions('job')).toBeUndefined();
    expect(solo.checkOptions('job', { occurrence: start, attempts: 2, onBusy: 'standby' })).toBeUndefined();
    await settle();
    expect(calls).toEqual([]);
  });
});

describe('releasing the lock of a holder that will not', () => {
  it('frees the name of the acquisition that has this fence, and its holder learns of it at its next renewal', async () => {
    const { provider, replica } = createStage();
    const lease = await mustAcquire(replica());
    const operator = replica();
    expect(await operator.forceRelease('job', { fence: lease.fence })).toBe(true);
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastError: 'released by an operator' });
    expect(lease.signal.aborted).toBe(false);
    expect((await mustAcquire(operator)).fence).toBe(2n);
    await pass(10_000);
    expect(lease.signal.reason).toMatchObject({ name: 'LeaseLostError', reason: 'taken' });
    expect(await lease.release()).toBe(false);
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: 2n });
  });

  it('touches no other acquisition, and nothing that is free', async () => {
    const { provider, replica, asked } = createStage();
    const solo = replica();
    expect(await solo.forceRelease('job', { fence: 1n })).toBe(false);
    const first = await mustAcquire(solo);
    await first.release();
    expect(await solo.forceRelease('job', { fence: 1n })).toBe(false);
    await mustAcquire(solo);
    expect(await solo.forceRelease('job', { fence: 1n })).toBe(false);
    expect(await solo.forceRelease('job', { fence: 3n })).toBe(false);
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: 2n });
    expect(asked('release')).toBe(1);
  });

  it('is refused by the provider when the name has changed hands since it was read', async () => {
    let read: JobRecord | undefined;
    const { provider, replica } = createStage((sound) => ({ inspect: async (name) => read ?? sound.inspect(name) }));
    const solo = replica();
    const first = await mustAcquire(solo);
    read = await provider.inspect('job');
    await first.release();
    await mustAcquire(solo);
    expect(await solo.forceRelease('job', { fence: 1n })).toBe(false);
    read = undefined;
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: 2n });
  });

  it('leaves the occurrence failed, so that another attempt may follow', async () => {
    const { provider, replica } = createStage();
    await mustClaim(replica());
    const solo = replica();
    expect(await solo.forceRelease('job', { fence: 1n })).toBe(true);
    expect(await provider.inspect('job')).toMatchObject({ occurrence: { at: start, state: 'failed', attempt: 1 } });
    expect(await solo.run('job', ({ attempt }) => attempt, { occurrence: start, attempts: 2 })).toMatchObject({ value: 2 });
  });

  it('finds the name in its namespace alone', async () => {
    const { provider, replica } = createStage();
    await mustAcquire(replica());
    await mustAcquire(replica({ namespace: 'billing' }));
    expect(await replica({ namespace: 'billing' }).forceRelease('job', { fence: 1n })).toBe(true);
    expect(await provider.inspect('billing/job')).toMatchObject({ held: false });
    expect(await provider.inspect('job')).toMatchObject({ held: true });
  });

  it.each<[string, Partial<LockProvider>]>([
    ['read the record', { inspect: () => Promise.reject(new Error('ECONNREFUSED')) }],
    ['answer in time', { inspect: silence }],
    ['release', { release: () => Promise.reject(new Error('ECONNREFUSED')) }],
  ])('rejects when the provider cannot %s', async (_, verbs) => {
    const { replica } = createStage(() => verbs);
    const solo = replica();
    await mustAcquire(solo);
    const seen = watch(solo.forceRelease('job', { fence: 1n }));
    await pass(5_000);
    expect(seen.error).toBeInstanceOf(ProviderError);
    expect(seen.error).toMatchObject({ message: expect.stringMatching(/^memory: cannot release "job": /) });
  });

  it('takes names and fences that can be, and no others', async () => {
    const solo = createStage().replica();
    for (const refused of [
      solo.forceRelease('', { fence: 1n }),
      solo.forceRelease('job', { fence: 1 as unknown as bigint }),
      solo.forceRelease('job', undefined as unknown as { fence: bigint }),
    ]) {
      expect(await rejection(refused)).toBeInstanceOf(OptionError);
    }
  });
});

describe('the verbs of a solo', () => {
  it('may be taken off it, and copied', async () => {
    const solo = createStage().replica();
    // oxlint-disable-next-line typescript/unbound-method -- users do
    const { run, singleton, tryAcquire, elect, inspect, list, explain, on, signal, close } = solo;
    const told: string[] = [];
    on('acquired', ({ name }) => void told.push(name));
    expect(await run('run', () => 1)).toMatchObject({ value: 1 });
    expect(await singleton('singleton', () => 2)()).toMatchObject({ value: 2 });
    await (await tryAcquire('hand'))!.release();
    // oxlint-disable-next-line typescript/unbound-method -- users do
    const { isLeader, stop, resign } = elect('leader', { onElected: () => {} });
    await settle();
    expect(isLeader()).toBe(true);
    await resign();
    await stop();
    expect(await inspect('run')).toMatchObject({ held: false });
    expect((await gathered(list())).length).toBe(4);
    expect(explain()).toMatchObject({ provider: 'memory' });
    expect(told).toEqual(['run', 'singleton', 'hand', 'leader']);
    await close();
    expect(signal.aborted).toBe(true);
    await { ...solo }[Symbol.asyncDispose]();
  });
});

describe('a singleton', () => {
  it('hands its arguments through', async () => {
    const add = createStage()
      .replica()
      .singleton('add', ({ fence }, a: number, b: number) => [fence, a + b]);
    expect(await add(1, 2)).toMatchObject({ status: 'ran', value: [1n, 3] });
    expect(await add(3, 4)).toMatchObject({ value: [2n, 7] });
  });

  it('asks for its occurrence at each call', async () => {
    let ran = 0;
    const job = createStage()
      .replica()
      .singleton('job', () => (ran += 1), { occurrence: () => new Date(Math.floor(Date.now() / 60_000) * 60_000) });
    await job();
    await pass(30_000);
    expect(await job()).toMatchObject({ status: 'skipped', reason: 'done' });
    await pass(30_000);
    expect(await job()).toMatchObject({ status: 'ran' });
    expect(ran).toBe(2);
  });

  it('is found wrong when it is made, not at the first tick', () => {
    const solo = createStage().replica();
    expect(() => solo.singleton('', () => {})).toThrow(OptionError);
    expect(() => solo.singleton('job', () => {}, { attempts: 2 })).toThrow(OptionError);
    expect(() => solo.singleton('job', () => {}, { onBusy: 'standby' })).toThrow(OptionError);
    expect(() => solo.singleton('job', () => {}, { maxRunMs: -1 })).toThrow(OptionError);
  });
});

describe('closing', () => {
  it('claims nothing any more', async () => {
    const solo = createStage().replica();
    await solo.close();
    expect(await solo.run('job', () => expect.unreachable())).toEqual({
      status: 'skipped',
      reason: 'closed',
      holder: undefined,
      retryAt: undefined,
    });
    for (const refused of [solo.tryAcquire('job'), solo.acquire('job', { waitMs: 1 }), solo.claim('job')]) {
      expect(await rejection(refused)).toBeInstanceOf(ClosedError);
    }
    expect(() => solo.elect('job', { onElected: () => {} })).toThrow(ClosedError);
  });

  it('asks handlers to stop, waits until they have, and lets go of the provider last', async () => {
    const { replica, calls } = createStage();
    const solo = replica();
    const told = listen(solo);
    const runs = ['a', 'b'].map((name) => solo.run(name, heedful));
    await settle();
    await solo.close();
    expect(await Promise.all(runs)).toMatchObject([{ value: 'stopped' }, { value: 'stopped' }]);
    expect(calls.map(({ verb }) => verb)).toEqual(['tryAcquire', 'tryAcquire', 'release', 'release', 'close']);
    expect(names(told)).toEqual(['acquired', 'acquired', 'released', 'released']);
    expect(await timersLeft()).toBe(0);
  });

  it('keeps the lease of a handler that does not heed its signal, and says whose it is', async () => {
    const { provider, replica, asked } = createStage();
    const solo = replica();
    const gate = deferred();
    const run = watch(solo.run('deaf', () => gate.promise));
    await settle();
    const closing = watch(solo.close({ graceMs: 10_000 }));
    await pass(9_999);
    expect(closing.state).toBe('pending');
    await pass(1);
    expect(closing.error).toBeInstanceOf(CloseTimeoutError);
    expect(closing.error).toMatchObject({ unfinished: ['deaf'], message: expect.stringContaining('"deaf"') });
    await pass(60_000);
    expect(await provider.inspect('deaf')).toMatchObject({ held: true });
    expect(asked('close')).toBe(0);
    // It may be tried again.
    gate.resolve();
    await solo.close();
    expect(run.value).toMatchObject({ status: 'ran' });
    expect(asked('close')).toBe(1);
    expect(await timersLeft()).toBe(0);
  });

  it('does not blame a handler that has ended when the provider does not take its lock back', async () => {
    const { replica, asked } = createStage(() => ({ release: silence }));
    const solo = replica();
    const run = watch(solo.run('job', heedful));
    const deaf = watch(solo.run('deaf', () => gate.promise));
    const gate = deferred();
    await settle();
    const closing = watch(solo.close({ graceMs: 3_000 }));
    await pass(3_000);
    // One still runs: it is named, and the other one is not.
    expect(closing.error).toBeInstanceOf(CloseTimeoutError);
    expect(closing.error).toMatchObject({ unfinished: ['deaf'] });
    gate.resolve();
    const again = watch(solo.close({ graceMs: 3_000 }));
    await pass(3_010);
    expect(again.error).toBeInstanceOf(ProviderError);
    expect(again.error).toMatchObject({
      message:
        'memory: cannot give back "job", "deaf": no answer in time. Nothing runs any more, and the lock comes free when its lease ends',
    });
    expect(asked('close')).toBe(1);
    await pass(60_000);
    expect([run.state, deaf.state]).toEqual(['resolved', 'resolved']);
  });

  it('waits for a release that is under way', async () => {
    const answer = deferred<boolean>();
    const { replica } = createStage(() => ({ release: () => answer.promise }));
    const solo = replica();
    const run = watch(solo.run('job', () => 'value'));
    await settle();
    const closing = watch(solo.close({ graceMs: 1_000 }));
    await pass(500);
    answer.resolve(true);
    await settle();
    expect(closing.state).toBe('resolved');
    expect(run.value).toMatchObject({ value: 'value', released: true });
  });

  it('is one and the same for all who ask for it', async () => {
    const { replica, asked } = createStage();
    const solo = replica();
    await Promise.all([solo.close(), solo.close(), solo[Symbol.asyncDispose]()]);
    await solo.close();
    expect(asked('close')).toBe(1);
  });

  it('is not spoilt by an option that cannot be', async () => {
    const solo = createStage().replica();
    expect(await rejection(solo.close({ graceMs: Number.NaN }))).toBeInstanceOf(OptionError);
    await solo.close();
    expect(await solo.run('job', () => expect.unreachable())).toMatchObject({ reason: 'closed' });
  });

  it('is what leaving a block does', async () => {
    const { provider, replica, asked } = createStage();
    {
      await using solo = replica();
      await mustAcquire(solo);
    }
    expect(await provider.inspect('job')).toMatchObject({ held: false });
    expect(asked('close')).toBe(1);
  });

  it('leaves a provider to the solos that share it', async () => {
    const provider = { ...memory(), close: vi.fn<() => Promise<void>>(async () => {}) };
    const [first, second] = [createSolo({ provider }), createSolo({ provider })];
    await first.close();
    expect(provider.close).not.toHaveBeenCalled();
    expect(await second.run('job', () => 'fine')).toMatchObject({ value: 'fine' });
    await second.close();
    expect(provider.close).toHaveBeenCalledOnce();
  });

  it('leaves the provider open on request', async () => {
    const { replica, asked } = createStage();
    await replica().close({ keepProvider: true });
    expect(asked('close')).toBe(0);
  });

  it('can be waited for by whoever should end with it', async () => {
    const solo = createStage().replica();
    expect(solo.signal.aborted).toBe(false);
    const closing = solo.close();
    expect(solo.signal.reason).toBeInstanceOf(ClosedError);
    await closing;
  });

  it('gives up a try that has no answer yet, and undoes what comes of it', async () => {
    const answer = deferred();
    const { provider, replica } = createStage((sound) => ({
      async tryAcquire(request) {
        const result = await sound.tryAcquire(request, new AbortController().signal);
        await answer.promise;
        return result;
      },
    }));
    const solo = replica();
    const [run, byHand] = [watch(solo.run('a', () => expect.unreachable(), { occurrence: at(0) })), watch(solo.tryAcquire('b'))];
    await settle();
    await solo.close();
    expect(run.value).toMatchObject({ status: 'skipped', reason: 'closed' });
    expect(byHand.error).toBeInstanceOf(ClosedError);
    answer.resolve();
    await settle();
    expect(await provider.inspect('a')).toMatchObject({ held: false, occurrence: undefined });
    expect(await provider.inspect('b')).toMatchObject({ held: false });
  });

  it.each(Array.from({ length: 14 }, (_, i) => i))(
    'never marks an occurrence done that nobody was given (%d turns into a claim)',
    async (turns) => {
      const { provider, replica } = createStage();
      const solo = replica();
      const claim = watch(solo.claim('job', { occurrence: at(0) }));
      for (let i = 0; i < turns; i += 1) await Promise.resolve();
      const closing = watch(solo.close({ graceMs: 1_000 }));
      await pass(1_000);
      const state = (await provider.inspect('job'))?.occurrence?.state;
      // Either the claim was given, and close() waits for it, or it was undone.
      expect([claim.state, closing.state, state]).toEqual(
        claim.state === 'resolved' ? ['resolved', 'rejected', 'claimed'] : ['rejected', 'resolved', undefined],
      );
    },
  );

  it('in a listener of "acquired" undoes what was acquired', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    solo.on('acquired', () => void solo.close());
    expect(await rejection(solo.claim('job', { occurrence: at(0) }))).toBeInstanceOf(ClosedError);
    await settle();
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: undefined });
  });
});
