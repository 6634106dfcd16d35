import { describe, expect, it } from 'vitest';
import { LeaseLostError, ProviderError, trustedUntil, type AcquireResult, type Lease } from '../src/index.ts';
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
  useFakeTime,
  watch,
} from './stage.ts';

useFakeTime();

describe('the trust in a lease', () => {
  it('ends a margin before the provider can end it', () => {
    expect(trustedUntil(1_000, 30_000, 1_500)).toBe(29_500);
    expect(trustedUntil(1_000, null, 1_500)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is counted from before the request, however slowly the answer comes', async () => {
    const answer = deferred();
    const { replica } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        await answer.promise;
        return sound.tryAcquire(request, signal);
      },
    }));
    const acquiring = mustAcquire(replica());
    await pass(4_000);
    answer.resolve();
    expect((await acquiring).remainingMs()).toBe(30_000 - 1_500 - 4_000);
  });

  it('is counted from before a renewal, however slowly that is answered', async () => {
    const { replica } = createStage((sound) => ({
      async renew(grant, signal) {
        await new Promise((resolve) => setTimeout(resolve, 3_000));
        return sound.renew(grant, signal);
      },
    }));
    const lease = await mustAcquire(replica());
    await pass(13_000);
    expect(lease.remainingMs()).toBe(10_000 + 28_500 - 13_000);
  });

  it('ends before the provider gives the name to anybody else', async () => {
    const { provider, replica } = createStage(() => ({ renew: silence }));
    const lease = await mustAcquire(replica());
    const heldAtTheEnd = deferred<boolean | undefined>();
    lease.signal.addEventListener('abort', () => {
      void provider.inspect('job').then((record) => heldAtTheEnd.resolve(record?.held));
    });
    await pass(28_499);
    expect(lease.signal.aborted).toBe(false);
    await pass(1);
    expect(lease.signal.aborted).toBe(true);
    expect(await heldAtTheEnd.promise).toBe(true);
    expect(await replica().tryAcquire('job')).toBeUndefined();
    await pass(1_500);
    expect(await replica().tryAcquire('job')).toBeDefined();
  });

  it('has no end where the lease has none, whatever its renewals say of the time', async () => {
    const { replica, asked } = createStage();
    const lease = await mustAcquire(replica({ leaseMs: null }));
    await pass(86_400_000);
    expect(lease.remainingMs()).toBe(Number.POSITIVE_INFINITY);
    expect(lease.checkpoint()).toBeUndefined();
    // Only to learn whether another holder has taken it.
    expect(asked('renew')).toBeGreaterThan(0);
  });
});

describe('an answer that comes too late', () => {
  it('is not trusted when the lease ran out on the way: it is given back and nobody hears of a lease', async () => {
    const answer = deferred();
    const { provider, replica, stall, calls } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        await answer.promise;
        return result;
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const acquiring = rejection(solo.run('job', () => expect.unreachable()));
    await settle();
    stall(28_500);
    answer.resolve();
    expect(await acquiring).toMatchObject({ name: 'ProviderError', message: expect.stringContaining('longer than the lease') });
    expect(calls.map(({ verb, detail }) => [verb, verb === 'release' && detail])).toEqual([
      ['tryAcquire', false],
      ['release', { result: 'abandoned' }],
    ]);
    expect(await provider.inspect('job')).toMatchObject({ held: false });
    expect(names(told)).toEqual([]);
  });

  it.each([30_000, 4_999, 101.5])('is undone after the caller has been told that none came (lease of %d ms)', async (leaseMs) => {
    const answer = deferred();
    const { provider, replica, calls } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        await answer.promise;
        expect(signal.aborted).toBe(true);
        return sound.tryAcquire(request, new AbortController().signal);
      },
    }));
    const refused = rejection(replica({ leaseMs }).run('job', () => expect.unreachable(), { occurrence: at(0) }));
    await pass(Math.min(5_000, leaseMs) + 1);
    expect(await refused).toBeInstanceOf(ProviderError);
    answer.resolve();
    await settle();
    expect(calls.at(-1)).toMatchObject({ verb: 'release', detail: { result: 'abandoned' } });
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: undefined });
  });

  it('is undone after the caller has gone', async () => {
    const answer = deferred();
    const { provider, replica } = createStage((sound) => ({
      async tryAcquire(request) {
        await answer.promise;
        return sound.tryAcquire(request, new AbortController().signal);
      },
    }));
    const caller = new AbortController();
    const acquiring = rejection(replica().acquire('job', { waitMs: 60_000, signal: caller.signal }));
    await settle();
    const reason = new Error('never mind');
    caller.abort(reason);
    expect(await acquiring).toBe(reason);
    answer.resolve();
    await settle();
    expect(await provider.inspect('job')).toMatchObject({ held: false });
  });

  it('harms nobody when it cannot be undone either', async () => {
    const answer = deferred<AcquireResult>();
    const { replica } = createStage(() => ({
      tryAcquire: () => answer.promise,
      release() {
        throw new Error('not even a promise');
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const refused = rejection(solo.tryAcquire('job'));
    await pass(5_000);
    expect(await refused).toBeInstanceOf(ProviderError);
    answer.resolve({ acquired: true, grant: { name: 'job', owner: 'o', fence: 1n, attempt: 1 } });
    await settle();
    expect(told).toMatchObject([{ event: 'unconfirmed', operation: 'release' }]);
  });
});

describe('after a stall', () => {
  const stalled = async (): Promise<Lease> => {
    const { replica, stall } = createStage();
    const lease = await mustAcquire(replica());
    stall(28_500);
    return lease;
  };

  it('whoever asks the signal is told the truth before any timer has fired', async () => {
    const lease = await stalled();
    expect(lease.signal.aborted).toBe(true);
    expect(lease.signal.reason).toMatchObject({ reason: 'expired' });
  });

  it('whoever asks the signal for its reason is told the truth', async () => {
    expect((await stalled()).signal.reason).toBeInstanceOf(LeaseLostError);
  });

  it('the signal throws for whoever asks it to', async () => {
    const { signal } = await stalled();
    expect(() => signal.throwIfAborted()).toThrow(LeaseLostError);
  });

  // From Node 24 on, AbortSignal.any reads fields of its own, and the signal has to wait for the timer.
  const [major] = process.versions.node.split('.');
  it.runIf(Number(major) < 24)('a signal made of it is aborted', async () => {
    const { signal } = await stalled();
    expect(AbortSignal.any([signal]).aborted).toBe(true);
  });

  it('a checkpoint throws', async () => {
    const lease = await stalled();
    expect(() => lease.checkpoint()).toThrow(LeaseLostError);
  });

  it('nothing remains', async () => {
    expect((await stalled()).remainingMs()).toBe(0);
  });

  it('listeners are told once, whoever asked first', async () => {
    const { replica, stall } = createStage();
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    let aborts = 0;
    lease.signal.addEventListener('abort', () => (aborts += 1));
    stall(60_000);
    expect([lease.signal.aborted, lease.remainingMs(), lease.signal.aborted]).toEqual([true, 0, true]);
    await pass(60_000);
    expect(aborts).toBe(1);
    expect(names(told)).toEqual(['acquired', 'lost']);
  });

  it('a short one costs nothing', async () => {
    const { replica, stall } = createStage();
    const lease = await mustAcquire(replica());
    stall(15_000);
    expect(lease.signal.aborted).toBe(false);
    expect(lease.signal.reason).toBeUndefined();
    expect(lease.signal.throwIfAborted()).toBeUndefined();
    await pass(20_000);
    expect(lease.signal.aborted).toBe(false);
  });
});

describe('a lease whose session ends', () => {
  it('is lost at once, with what the provider said as the cause', async () => {
    const session = new AbortController();
    const { replica, asked } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        return result.acquired ? { ...result, grant: { ...result.grant, lost: session.signal } } : result;
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    const cause = new Error('terminated by an administrator');
    session.abort(cause);
    expect(lease.signal.reason).toMatchObject({ reason: 'session', cause });
    expect(told.at(-1)).toMatchObject({ event: 'lost', name: 'job', fence: 1n, error: lease.signal.reason });
    expect(await lease.release()).toBe(false);
    expect(asked('release')).toBe(0);
  });

  it('is none if it had ended before the answer came', async () => {
    const { replica } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        return result.acquired ? { ...result, grant: { ...result.grant, lost: AbortSignal.abort() } } : result;
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const error = await rejection(solo.run('job', () => expect.unreachable()));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ cause: { reason: 'session' } });
    expect(names(told)).toEqual([]);
  });

  it('before anybody was given it, leaves the occurrence to the next one', async () => {
    const { provider, replica } = createStage((store) => ({
      async tryAcquire(request, signal) {
        const result = await store.tryAcquire(request, signal);
        return result.acquired ? { ...result, grant: { ...result.grant, lost: AbortSignal.abort(new Error('ended')) } } : result;
      },
    }));
    const solo = replica();
    await expect(solo.run('job', () => 1, { occurrence: at(-5) })).rejects.toMatchObject({ code: 'SOLORUN_PROVIDER' });
    expect((await provider.inspect('job'))?.occurrence).toBeUndefined();
  });

  it('is not lost by a session that ends after the release', async () => {
    const session = new AbortController();
    const { replica } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        return result.acquired ? { ...result, grant: { ...result.grant, lost: session.signal } } : result;
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    const releasing = lease.release();
    session.abort();
    expect(await releasing).toBe(true);
    expect(lease.signal.aborted).toBe(false);
    expect(names(told)).toEqual(['acquired', 'released']);
  });
});

describe('releasing a lease', () => {
  it('is quiet when done twice, and asks the provider once', async () => {
    const { replica, asked } = createStage();
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    expect(await Promise.all([lease.release(), lease.release()])).toEqual([true, true]);
    expect(await lease.release()).toBe(true);
    expect(asked('release')).toBe(1);
    expect(told.map(({ event }) => event)).toEqual(['acquired', 'released']);
  });

  it('leaves nothing to rely on', async () => {
    const lease = await mustAcquire(createStage().replica());
    void lease.release();
    expect(lease.remainingMs()).toBe(0);
    expect(() => lease.checkpoint()).toThrow(expect.objectContaining({ reason: 'released' }));
  });

  it('tells how long it was held', async () => {
    const solo = createStage().replica({ label: 'a' });
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(12_345);
    await lease.release();
    expect(told.at(-1)).toMatchObject({ event: 'released', name: 'job', provider: 'memory', outcome: 'done', heldMs: 12_345 });
  });

  it('never touches the lease of a successor', async () => {
    const { provider, replica } = createStage(() => ({ renew: silence }));
    const late = await mustAcquire(replica());
    await pass(30_000);
    const successor = await mustAcquire(replica());
    expect(await late.release()).toBe(false);
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: successor.fence });
    expect(successor.fence).toBeGreaterThan(late.fence);
  });

  it('never rejects: what goes wrong is told, and tried again while the lease is ours', async () => {
    const trouble = new Error('ECONNRESET');
    let failures = 2;
    const { provider, replica, asked } = createStage((sound) => ({
      async release(grant, outcome, signal) {
        if (failures > 0) {
          failures -= 1;
          throw trouble;
        }
        return sound.release(grant, outcome, signal);
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    const releasing = lease.release();
    await pass(1_000);
    expect(await releasing).toBe(true);
    expect(asked('release')).toBe(3);
    expect(told.map(({ event }) => event)).toEqual(['acquired', 'unconfirmed', 'unconfirmed', 'released']);
    expect(told[1]).toMatchObject({ operation: 'release', error: { name: 'ProviderError', cause: trouble } });
    expect(await provider.inspect('job')).toMatchObject({ held: false });
  });

  it('takes "not yours" after an unknown try for the echo of that try', async () => {
    let answers = 0;
    const { replica } = createStage((sound) => ({
      async release(grant, outcome, signal) {
        answers += 1;
        if (answers > 1) return false;
        await sound.release(grant, outcome, signal);
        throw new Error('the answer was lost');
      },
    }));
    const result = replica().run('job', () => 'value');
    await pass(1_000);
    expect(await result).toMatchObject({ status: 'ran', value: 'value', released: false });
  });

  it('gives up when the lease runs out on its own', async () => {
    const { replica, asked } = createStage(() => ({ release: silence }));
    const lease = await mustAcquire(replica());
    await pass(1_000);
    const releasing = watch(lease.release());
    await pass(31_000);
    expect(releasing).toMatchObject({ state: 'resolved', value: false });
    expect(asked('release')).toBeGreaterThan(1);
    expect(asked('release')).toBeLessThanOrEqual(6);
  });

  it('ends by itself at the end of a block', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    {
      await using lease = await solo.acquire('job', { waitMs: 0 });
      expect(lease.remainingMs()).toBeGreaterThan(0);
    }
    expect(await provider.inspect('job')).toMatchObject({ held: false });
  });

  it('does not mark an occurrence done at the end of a block, for the block may have thrown', async () => {
    const { provider, replica } = createStage();
    const lease = await mustClaim(replica());
    await lease[Symbol.asyncDispose]();
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: { state: 'failed' } });
  });

  it('keeps what it was told at the end of a block', async () => {
    const { provider, replica } = createStage();
    const lease = await mustClaim(replica());
    await lease.release();
    await lease[Symbol.asyncDispose]();
    expect(await provider.inspect('job')).toMatchObject({ occurrence: { state: 'done' } });
  });

  it('records a failure in short, on whole characters and without credentials', async () => {
    const { provider, replica } = createStage();
    const lease = await mustClaim(replica());
    await lease.release({ result: 'failed', error: `x postgres://me:geheim@db/x ${'🔒'.repeat(400)}` });
    const { lastError } = (await provider.inspect('job'))!;
    expect(lastError).toContain('postgres://***@db/x');
    expect(lastError!.length).toBeLessThanOrEqual(500);
    expect(lastError!.isWellFormed()).toBe(true);
  });

  it('does not choke on an outcome that is no string', async () => {
    const { provider, replica } = createStage();
    const lease = await mustClaim(replica());
    expect(await lease.release({ result: 'failed', error: new Error('broke') as unknown as string })).toBe(true);
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastError: expect.stringContaining('broke') });
  });
});
