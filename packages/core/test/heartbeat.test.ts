import { describe, expect, it, vi } from 'vitest';
import { LeaseLostError } from '../src/index.ts';
import { createStage, deferred, listen, mustAcquire, names, pass, settle, silence, timersLeft, useFakeTime } from './stage.ts';

describe('the heartbeat', () => {
  useFakeTime();

  it('renews a lease every third of it, for as long as it is held', async () => {
    const { replica, calls } = createStage();
    const lease = await mustAcquire(replica());
    await pass(100_000);
    expect(calls.filter(({ verb }) => verb === 'renew').map(({ atMs }) => Math.round(atMs / 10_000))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    expect(lease.signal.aborted).toBe(false);
    await lease.release();
    await pass(100_000);
    expect(calls.filter(({ verb }) => verb === 'renew')).toHaveLength(10);
    expect(await timersLeft()).toBe(0);
  });

  it.each([
    { leaseMs: 3_000, marginMs: 1_400, tookMs: 700 },
    { leaseMs: 3_000, marginMs: 1_400, tookMs: 1_400 },
    { leaseMs: 200, marginMs: 40, tookMs: 97 },
  ])('keeps a lease of $leaseMs ms whose acquisition took $tookMs ms of the trust', async ({ leaseMs, marginMs, tookMs }) => {
    const { replica, asked } = createStage((sound) => ({
      async tryAcquire(request, signal) {
        const answer = await sound.tryAcquire(request, signal);
        await new Promise((resolve) => setTimeout(resolve, tookMs));
        return answer;
      },
    }));
    const acquiring = mustAcquire(replica({ leaseMs, marginMs, callTimeoutMs: leaseMs }));
    await pass(tookMs);
    const lease = await acquiring;
    await pass(leaseMs * 3);
    expect(lease.signal.aborted).toBe(false);
    expect(asked('renew')).toBeGreaterThan(2);
  });

  it('has a second chance to renew where trust ends long before the lease does', async () => {
    let renewals = 0;
    const { replica } = createStage((sound) => ({
      renew: (grant, signal) => ((renewals += 1) % 2 === 1 ? silence<boolean>() : sound.renew(grant, signal)),
    }));
    const lease = await mustAcquire(replica({ marginMs: 13_500 }));
    await pass(300_000);
    expect(lease.signal.aborted).toBe(false);
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('ECONNRESET'))],
    [
      'throws',
      () => {
        throw new Error('ECONNRESET');
      },
    ],
    ['hangs', silence<boolean>],
  ])('keeps a lease through a renewal that %s, and tells of it', async (_, fails) => {
    let renewals = 0;
    const { replica } = createStage((sound) => ({
      renew(grant, signal) {
        renewals += 1;
        return renewals === 1 ? fails() : sound.renew(grant, signal);
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(60_000);
    expect(lease.signal.aborted).toBe(false);
    expect(told.map(({ event }) => event)).toEqual(['acquired', 'unconfirmed']);
    expect(told[1]).toMatchObject({ operation: 'renew', name: 'job', provider: 'memory' });
  });

  it.each([
    ['rejects', () => Promise.reject(new Error('ECONNRESET'))],
    ['hangs', silence<boolean>],
  ])('loses a lease by the clock, and no sooner, when every renewal %s', async (_, renew) => {
    const { replica, asked } = createStage(() => ({ renew }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(28_499);
    expect(lease.signal.aborted).toBe(false);
    await pass(1);
    expect(lease.signal.reason).toMatchObject({ name: 'LeaseLostError', reason: 'expired', lock: 'job', fence: 1n });
    expect(told.at(-1)).toMatchObject({ event: 'lost', error: lease.signal.reason });
    // Several chances, and none of them in a hurry.
    expect(asked('renew')).toBeGreaterThanOrEqual(2);
    expect(asked('renew')).toBeLessThanOrEqual(9);
    const renewals = asked('renew');
    await pass(60_000);
    expect(asked('renew')).toBe(renewals);
    expect(names(told).filter((event) => event === 'lost')).toHaveLength(1);
    expect(await timersLeft()).toBe(0);
  });

  it('ends a lease at once when the provider says that it is not ours', async () => {
    const { replica } = createStage(() => ({ renew: async () => false }));
    const lease = await mustAcquire(replica());
    await pass(10_000);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.signal.reason).toMatchObject({ reason: 'taken' });
    expect(() => lease.checkpoint()).toThrow(LeaseLostError);
  });

  it('does not revive a lease whose renewal is confirmed after its time is over', async () => {
    const answer = deferred();
    const { replica, stall } = createStage((sound) => ({
      async renew(grant, signal) {
        const renewed = await sound.renew(grant, signal);
        await answer.promise;
        return renewed;
      },
    }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(10_000);
    // The answer is there first thing on wake, before any timer.
    stall(18_500);
    answer.resolve();
    await Promise.resolve();
    await settle();
    expect(lease.signal.reason).toMatchObject({ reason: 'expired' });
    expect(lease.remainingMs()).toBe(0);
    expect(names(told)).toEqual(['acquired', 'lost']);
  });

  it('pays no heed to a renewal that is confirmed after it was given up', async () => {
    const answers: ReturnType<typeof deferred<boolean>>[] = [];
    const { replica } = createStage(() => ({
      renew() {
        const answer = deferred<boolean>();
        answers.push(answer);
        return answer.promise;
      },
    }));
    const lease = await mustAcquire(replica());
    await pass(21_000);
    expect(answers).toHaveLength(1);
    answers[0]!.resolve(true);
    await settle();
    expect(lease.remainingMs()).toBe(7_500);
  });

  it('does not end a lease for a refusal that is older than the release', async () => {
    const answer = deferred<boolean>();
    const { replica } = createStage(() => ({ renew: () => answer.promise }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(10_000);
    expect(await lease.release()).toBe(true);
    answer.resolve(false);
    await settle();
    expect(lease.signal.aborted).toBe(false);
    expect(names(told)).toEqual(['acquired', 'released']);
  });

  it('does not tell of a renewal that fails after the release', async () => {
    const answer = deferred<boolean>();
    const { replica } = createStage(() => ({ renew: () => answer.promise }));
    const solo = replica();
    const told = listen(solo);
    const lease = await mustAcquire(solo);
    await pass(10_000);
    await lease.release();
    answer.reject(new Error('closed'));
    await settle();
    expect(names(told)).toEqual(['acquired', 'released']);
  });

  it('renews in one turn what falls due at about the same time', async () => {
    const { replica, calls } = createStage();
    const solo = replica();
    for (let i = 0; i < 100; i += 1) {
      await mustAcquire(solo, `job ${i}`);
      await pass(20);
    }
    await pass(12_000);
    const renewals = calls.filter(({ verb }) => verb === 'renew');
    expect(renewals).toHaveLength(100);
    expect(new Set(renewals.map(({ atMs }) => atMs)).size).toBe(1);
  });

  it('does not let a renewal that hangs hold up the others', async () => {
    const { replica } = createStage((sound) => ({
      renew: (grant, signal) => (grant.name === 'stuck' ? silence() : sound.renew(grant, signal)),
    }));
    const solo = replica();
    const stuck = await mustAcquire(solo, 'stuck');
    const fine = await mustAcquire(solo, 'fine');
    await pass(60_000);
    expect(stuck.signal.aborted).toBe(true);
    expect(fine.signal.aborted).toBe(false);
    expect(fine.remainingMs()).toBeGreaterThan(18_000);
  });

  it('does not let the loss of one lease harm the others', async () => {
    let mine: boolean | undefined;
    const { replica } = createStage((sound) => ({
      renew: async (grant, signal) => (grant.name === 'taken' ? false : sound.renew(grant, signal)),
    }));
    const solo = replica();
    solo.on('lost', () => {
      throw new Error('a listener that is broken');
    });
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const taken = await mustAcquire(solo, 'taken');
    const fine = await mustAcquire(solo, 'fine');
    taken.signal.addEventListener('abort', () => (mine = fine.signal.aborted));
    await pass(60_000);
    expect(mine).toBe(false);
    expect(fine.signal.aborted).toBe(false);
    expect(warned).toHaveBeenCalledOnce();
  });

  it('looks for losses before it renews anything after a stall', async () => {
    const { replica, stall, asked } = createStage();
    const solo = replica();
    const old = await mustAcquire(solo, 'old');
    await pass(5_000);
    const young = await mustAcquire(solo, 'young');
    let renewedBefore: number | undefined;
    old.signal.addEventListener('abort', () => (renewedBefore = asked('renew')));
    await pass(4_000);
    stall(20_000);
    await pass(1_000);
    expect(renewedBefore).toBe(0);
    expect(old.signal.reason).toMatchObject({ reason: 'expired' });
    expect(young.signal.aborted).toBe(false);
    expect(young.remainingMs()).toBe(28_500);
  });

  it('keeps leases of different lengths, each at its own pace', async () => {
    const { replica, calls } = createStage();
    const solo = replica();
    const short = await mustAcquire(solo, 'long');
    const long = await mustAcquire(replica({ leaseMs: 3_000 }), 'short');
    await pass(30_000);
    const paces = calls.filter(({ verb }) => verb === 'renew').map(({ detail }) => (detail as { name: string }).name);
    expect(paces.filter((name) => name === 'short')).toHaveLength(30);
    expect(paces.filter((name) => name === 'long')).toHaveLength(3);
    expect([short.signal.aborted, long.signal.aborted]).toEqual([false, false]);
  });

  it('takes up a lease again after all others ended', async () => {
    const solo = createStage().replica();
    await (await mustAcquire(solo)).release();
    const lease = await mustAcquire(solo);
    await pass(60_000);
    expect(lease.signal.aborted).toBe(false);
  });

  it('keeps no process alive, even while a renewal has no answer', async () => {
    const { replica, asked } = createStage(() => ({ renew: silence }));
    const solo = replica();
    const begun = solo.tryAcquire('job');
    const timers = vi.spyOn(globalThis, 'setTimeout');
    await begun;
    await pass(28_400);
    expect(asked('renew')).toBeGreaterThan(1);
    expect(timers.mock.results.map(({ value }) => (value as NodeJS.Timeout).hasRef())).not.toContain(true);
  });
});
