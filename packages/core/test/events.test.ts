import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, it, vi } from 'vitest';
import { OptionError, type SoloEventName } from '../src/index.ts';
import { createStage, mustAcquire, rejection, settle, silence, useFakeTime, pass } from './stage.ts';

useFakeTime();

describe('a listener', () => {
  it('is told until it is removed', async () => {
    const solo = createStage().replica();
    const fences: bigint[] = [];
    const off = solo.on('acquired', ({ fence }) => void fences.push(fence));
    await (await mustAcquire(solo)).release();
    off();
    off();
    await (await mustAcquire(solo)).release();
    expect(fences).toEqual([1n]);
  });

  it('hears of its own solo alone', async () => {
    const { replica } = createStage();
    const listener = vi.fn<() => void>();
    replica().on('acquired', listener);
    await mustAcquire(replica());
    expect(listener).not.toHaveBeenCalled();
  });

  it('hears the next event, and not the same again, if it is added while one is told', async () => {
    const solo = createStage().replica();
    let told = 0;
    const again = (): void => {
      told += 1;
      off();
      off = solo.on('acquired', again);
      if (told > 10) off();
    };
    let off = solo.on('acquired', again);
    await mustAcquire(solo);
    expect(told).toBe(1);
    await mustAcquire(solo, 'another job');
    expect(told).toBe(2);
  });

  it('is for an event that there is', () => {
    const solo = createStage().replica();
    expect(() => solo.on('aquired' as SoloEventName, () => {})).toThrow(/There is no event "aquired"; there are acquired, busy/);
    expect(() => solo.on('acquired', undefined as never)).toThrow(OptionError);
  });
});

describe('a broken listener', () => {
  const broken: [string, () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('broke');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broke'))],
    [
      'throws what cannot be made a string',
      () => {
        throw Object.create(null);
      },
    ],
  ];

  it.each(broken)('that %s changes nothing: not the run, nor the release, nor who else is told', async (_, listener) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { provider, replica } = createStage();
    const solo = replica();
    const sound = vi.fn<() => void>();
    for (const event of ['acquired', 'released', 'failed'] as const) {
      solo.on(event, listener);
      solo.on(event, sound);
    }
    expect(await solo.run('job', () => 'value')).toMatchObject({ value: 'value', released: true });
    const broke = new Error("the handler's own");
    expect(await rejection(solo.run('job', () => Promise.reject(broke)))).toBe(broke);
    await settle();
    expect(await provider.inspect('job')).toMatchObject({ held: false });
    expect(sound).toHaveBeenCalledTimes(5);
    expect(warned).toHaveBeenCalledTimes(5);
    expect(warned.mock.calls[0]).toMatchObject([
      expect.stringContaining("listener of Solorun's 'acquired' event failed"),
      { code: 'SOLORUN_LISTENER' },
    ]);
  });

  it.each(broken)('that %s does not keep a lost lease from being told', async (_, listener) => {
    vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { replica } = createStage(() => ({ renew: silence }));
    const solo = replica();
    solo.on('lost', listener);
    const lease = await mustAcquire(solo);
    const aborted = vi.fn<() => void>();
    lease.signal.addEventListener('abort', aborted);
    await pass(28_500);
    expect(aborted).toHaveBeenCalledOnce();
  });
});

describe('the diagnostics channels', () => {
  it('carry the same objects', async () => {
    const solo = createStage().replica();
    const [published, told]: [unknown[], unknown[]] = [[], []];
    const onPublish = (message: unknown): void => void published.push(message);
    subscribe('solorun:acquired', onPublish);
    solo.on('acquired', (detail) => void told.push(detail));
    await mustAcquire(solo);
    unsubscribe('solorun:acquired', onPublish);
    expect(published).toHaveLength(1);
    expect(published[0]).toBe(told[0]);
    expect(published[0]).toMatchObject({ name: 'job', provider: 'memory', fence: 1n });
  });
});
