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

/** Every name by which something of an object can be reached. */
function doorsOf(held: object): string[] {
  const doors = new Set<string>();
  for (
    let part: object | null = held;
    part !== null && part !== Object.prototype;
    part = Object.getPrototypeOf(part) as object | null
  ) {
    for (const key of Reflect.ownKeys(part)) doors.add(key === Symbol.asyncDispose ? 'asyncDispose' : String(key));
  }
  return [...doors].filter((door) => door !== 'constructor').sort();
}

describe('a lease that a user holds', () => {
  it.each<[string, (solo: Solo) => Promise<Lease | undefined>]>([
    ['acquire()', (solo) => solo.acquire('job', { waitMs: 0 })],
    ['tryAcquire()', (solo) => solo.tryAcquire('job')],
    [
      'claim()',
      async (solo) => {
        const claim = await solo.claim('job');
        return claim.acquired ? claim.lease : undefined;
      },
    ],
  ])('has no door of its keeper, when it came from %s', async (_, take) => {
    const solo = createSolo({ provider: memory() });
    const lease = await take(solo);
    expect(doorsOf(lease!)).toEqual([
      'asyncDispose',
      'checkpoint',
      'confirm',
      'fence',
      'grant',
      'name',
      'occurrence',
      'release',
      'remainingMs',
      'signal',
    ]);
    await lease!.release();
    await solo.close();
  });

  it('has no door of its keeper in a run or in a term either', async () => {
    const solo = createSolo({ provider: memory() });
    const parts = ['checkpoint', 'confirm', 'fence', 'grant', 'name', 'remainingMs', 'signal'];
    const run = await solo.run('job', (context) => doorsOf(context));
    expect(run).toMatchObject({ value: [...parts, 'attempt', 'occurrence', 'recovering'].sort() });
    const term = await new Promise<string[]>((resolve) => {
      solo.elect('clock', { onElected: (context) => resolve(doorsOf(context)) });
    });
    expect(term).toEqual(parts);
    await solo.close();
  });
});

describe('a lease that its user has lost sight of', () => {
  afterEach(() => void vi.restoreAllMocks());

  it.each([
    ['acquire()', async (solo: Solo) => void (await solo.acquire('job', { waitMs: 0 }))],
    ['tryAcquire()', async (solo: Solo) => void (await solo.tryAcquire('job'))],
    ['claim()', async (solo: Solo) => void (await solo.claim('job'))],
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

  /** Everything that is garbage now has been found when this resolves. */
  async function allCollected(): Promise<void> {
    let found = false;
    const probe = new FinalizationRegistry(() => (found = true));
    probe.register({}, undefined);
    await collected(() => found);
    expect(found).toBe(true);
  }

  it('is kept without a word while the lease is still in use', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createSolo({ provider: memory() });
    const lease = await solo.acquire('job', { waitMs: 0 });
    await allCollected();
    expect(await isHeld(solo)).toBe(true);
    expect(warned).not.toHaveBeenCalled();
    expect(await lease.release()).toBe(true);
    await solo.close();
  });

  /** Each function keeps a different part of a lease, and returns a question: has that part learned that the lease is over? */
  const uses: readonly (readonly [string, (lease: Lease) => () => boolean])[] = [
    [
      'a listener of its signal',
      ({ signal }) => {
        let heard = false;
        signal.addEventListener('abort', () => (heard = true));
        return () => heard;
      },
    ],
    [
      'a handler of its signal',
      ({ signal }) => {
        let heard = false;
        // oxlint-disable-next-line unicorn/prefer-add-event-listener -- users do
        signal.onabort = () => (heard = true);
        return () => heard;
      },
    ],
    [
      'a signal that was made of its signal',
      ({ signal }) => {
        const composite = AbortSignal.any([signal]);
        return () => composite.aborted;
      },
    ],
    [
      'its fence',
      ({ fence }) =>
        () =>
          fence === 1n,
    ],
    [
      'its grant',
      ({ grant: { fence } }) =>
        () =>
          fence === 1n,
    ],
  ];
  it.each(uses)('is kept, with a warning, while %s may still be in use, and its loss is told', async (_, use) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createSolo({ provider: memory() });
    const hasHeard = await (async () => use(await solo.acquire('job', { waitMs: 0 })))();
    await collected(() => warned.mock.calls.length > 0);
    const kept = expect.stringMatching(/^The lease of "job" \(fence 1\) .*, and is kept, for its signal/) as string;
    expect(warned.mock.calls).toEqual([[kept, { code: 'SOLORUN_LEAKED_LEASE' }]]);
    expect(await isHeld(solo)).toBe(true);
    await solo.close();
    expect(hasHeard()).toBe(true);
  });

  it('is kept while its solo closes, too: who heard the signal may still be at work', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const provider = memory();
    const solo = createSolo({ provider });
    let told = false;
    await (async () => {
      const claim = await solo.claim('job');
      if (claim.acquired) claim.lease.signal.addEventListener('abort', () => (told = true));
    })();
    const closing = solo.close({ graceMs: 1_000 }).catch((error: unknown) => error);
    expect(told).toBe(true);
    await collected(() => warned.mock.calls.length > 0);
    expect(warned).toHaveBeenCalledOnce();
    expect((await provider.inspect('job'))?.held).toBe(true);
    expect(await closing).toMatchObject({ name: 'CloseTimeoutError', unfinished: ['job'] });
    expect((await provider.inspect('job'))?.held).toBe(true);
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
    await allCollected();
    expect(released).toEqual(new Set(['job']));
    expect(warned).not.toHaveBeenCalled();
    await solo.close();
  });
});
