import { describe, expect, it } from 'vitest';
import { CloseTimeoutError, createSolo } from '../src/index.ts';
import { memory } from '../src/memory.ts';

const occurrence = new Date('2026-01-02T03:00:00Z');

describe('close', () => {
  it('asks the holder of a claim to stop, and waits until it has given the lease back', async () => {
    const provider = memory();
    const solo = createSolo({ provider });
    const claim = await solo.claim('job', { occurrence });
    if (!claim.acquired) throw new Error(claim.reason);
    const closing = solo.close();
    expect(claim.lease.signal.aborted).toBe(true);
    expect(await provider.inspect('job')).toMatchObject({ held: true, occurrence: { state: 'claimed' } });
    await claim.lease.release({ result: 'failed', error: 'stopped' });
    await closing;
    expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: { state: 'failed' } });
  });

  it('keeps the lease of a claim whose holder does not stop, and says so', async () => {
    const provider = memory();
    const solo = createSolo({ provider });
    const claim = await solo.claim('job', { occurrence });
    await expect(solo.close({ graceMs: 10 })).rejects.toThrow(CloseTimeoutError);
    expect(await provider.inspect('job')).toMatchObject({ held: true });
    expect(claim.acquired).toBe(true);
  });

  it('does not wait for a claim whose lease is lost', async () => {
    const provider = memory();
    const solo = createSolo({ provider, leaseMs: 50 });
    const claim = await solo.claim('job');
    if (!claim.acquired) throw new Error(claim.reason);
    await provider.release({ ...(await provider.inspect('job'))!, attempt: 1 }, { result: 'done' }, new AbortController().signal);
    await solo.close({ graceMs: 5_000 });
    expect(claim.lease.signal.aborted).toBe(true);
  });

  it('is not misled by those who run again as soon as a run has ended', async () => {
    const provider = memory();
    const solo = createSolo({ provider });
    let runs = 0;
    const again = async (): Promise<void> => {
      const { status } = await solo.run('job', async () => {
        runs += 1;
        await new Promise(setImmediate);
      });
      if (status === 'ran') await again();
    };
    const loop = again();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await solo.close({ graceMs: 5_000 });
    expect(runs).toBeGreaterThan(0);
    await loop;
    expect(await provider.inspect('job')).toMatchObject({ held: false });
  });

  it('releases what was acquired by hand', async () => {
    const provider = memory();
    const solo = createSolo({ provider });
    const lease = await solo.acquire('job', { waitMs: 0 });
    await solo.close();
    expect(lease.signal.aborted).toBe(true);
    expect(await provider.inspect('job')).toMatchObject({ held: false });
  });
});

describe('a claim that is refused', () => {
  it('is told as a skipped run is', async () => {
    const solo = createSolo({ provider: memory() });
    const told: unknown[] = [];
    solo.on('skipped', ({ name, reason, at }) => told.push({ name, reason, at }));
    const held = await solo.acquire('job', { waitMs: 0 });
    await solo.claim('job', { occurrence });
    expect(told).toEqual([{ name: 'job', reason: 'held', at: occurrence }]);
    await held.release();
  });
});
