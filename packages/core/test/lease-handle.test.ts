import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createSolo, type Lease, type Solo } from '../src/index.ts';
import { memory } from '../src/memory.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Lets garbage be found: finalizers run in a turn of their own. */
async function collected(until: () => boolean | Promise<boolean>): Promise<void> {
  for (let rounds = 0; rounds < 200 && !(await until()); rounds += 1) {
    gc();
    await new Promise(setImmediate);
  }
}

async function isHeld(solo: Solo): Promise<boolean> {
  return (await solo.inspect('job'))?.held === true;
}

describe('a lease that its user has lost sight of', () => {
  afterEach(() => void vi.restoreAllMocks());

  it.each([
    ['acquire()', async (solo: Solo) => void (await solo.acquire('job', { waitMs: 0 }))],
    ['tryAcquire()', async (solo: Solo) => void (await solo.tryAcquire('job'))],
    ['claim()', async (solo: Solo) => void (await solo.claim('job'))],
    [
      'acquire(), and whose signal nobody uses any more',
      async (solo: Solo) => void (await solo.acquire('job', { waitMs: 0 })).signal,
    ],
  ])('is released when it came from %s, with a warning that names it', async (_, lose) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createSolo({ provider: memory() });
    await lose(solo);
    expect(await isHeld(solo)).toBe(true);
    await collected(async () => !(await isHeld(solo)));
    expect(await solo.inspect('job')).toMatchObject({
      held: false,
      lastError: 'the lease was garbage-collected without release()',
    });
    expect(warned.mock.calls).toEqual([[expect.stringContaining('"job" (fence 1)'), { code: 'SOLORUN_LEAKED_LEASE' }]]);
    await solo.close();
  });

  it('is kept while the lease or its signal is still in use', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createSolo({ provider: memory() });
    const used: { lease?: Lease | undefined; signal?: AbortSignal | undefined } = {
      lease: await solo.acquire('job', { waitMs: 0 }),
    };
    // Garbage that is made now has surely been found when this is.
    let found = false;
    const probe = new FinalizationRegistry(() => (found = true));
    probe.register({}, undefined);
    await collected(() => found);
    expect(found).toBe(true);
    expect(await isHeld(solo)).toBe(true);

    used.signal = used.lease!.signal;
    used.lease = undefined;
    found = false;
    probe.register({}, undefined);
    await collected(() => found);
    expect(await isHeld(solo)).toBe(true);
    expect(used.signal.aborted).toBe(false);
    expect(warned).not.toHaveBeenCalled();
    await solo.close();
    expect(used.signal.aborted).toBe(true);
  });

  it('is not missed once it was released or lost', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createSolo({ provider: memory() });
    const released = new Set<string>();
    solo.on('released', ({ name }) => released.add(name));
    const use = async (name: string): Promise<void> => {
      const lease = await solo.acquire(name, { waitMs: 0 });
      await lease.release();
    };
    await use('job');
    let found = false;
    const probe = new FinalizationRegistry(() => (found = true));
    probe.register({}, undefined);
    await collected(() => found);
    expect(released).toEqual(new Set(['job']));
    expect(warned).not.toHaveBeenCalled();
    await solo.close();
  });
});
