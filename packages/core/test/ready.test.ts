import { describe, expect, it, vi } from 'vitest';
import { ClosedError, NotReadyError, OptionError, warnUnlessReady, type Finding, type LockProvider } from '../src/index.ts';
import { createStage, pass, rejection, settle, silence, useFakeTime } from './stage.ts';

useFakeTime();

const refused = new Error('connect ECONNREFUSED postgres://app:hunter2@db:5432');
const ok: Finding = { check: 'server', state: 'ok', says: 'Postgres 17' };
const away: Finding = { check: 'server', state: 'unreachable', says: `cannot be reached: ${refused.message}` };
const standby: Finding = { check: 'role', state: 'unsafe', says: 'a standby. Connect to the primary' };
const examined =
  (...findings: Finding[]) =>
  (): Partial<LockProvider> => ({ examine: async () => findings });

describe('ready()', () => {
  it('resolves to what the provider has found', async () => {
    const note: Finding = { check: 'pooler', state: 'note', says: 'one stands between' };
    expect(await createStage(examined(ok, note)).replica().ready()).toEqual([ok, note]);
  });

  it('asks for a record where the provider has no checks, and acquires nothing', async () => {
    const { replica, asked, provider } = createStage();
    expect(await replica().ready()).toMatchObject([{ state: 'ok' }]);
    expect(asked('tryAcquire')).toBe(0);
    expect(await provider.inspect('solorun-ready')).toBeUndefined();
  });

  it('rejects in one sentence with the remedy, without credentials', async () => {
    const error = await rejection(createStage(examined(away)).replica().ready());
    expect(error).toBeInstanceOf(NotReadyError);
    expect(error).toMatchObject({
      code: 'SOLORUN_NOT_READY',
      findings: [away],
      message:
        'memory is not ready: server: cannot be reached: connect ECONNREFUSED postgres://***@db:5432; ' +
        'start it, or correct its address: nothing runs until it answers.',
    });
  });

  it('rejects where locks would not be safe, but first where nothing is known', async () => {
    const unsafe = await rejection(createStage(examined(ok, standby)).replica().ready());
    expect(unsafe).toMatchObject({ message: 'memory is not ready: role: a standby. Connect to the primary.' });
    expect(await rejection(createStage(examined(standby, away)).replica().ready())).toMatchObject({
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  it.each<[string, () => Partial<LockProvider>]>([
    ['of its checks', () => ({ examine: () => Promise.reject(refused) })],
    ['of its records', () => ({ inspect: () => Promise.reject(refused) })],
  ])('rejects likewise for an error %s', async (_, replace) => {
    expect(await rejection(createStage(replace).replica().ready())).toMatchObject({
      message:
        'memory is not ready: connect ECONNREFUSED postgres://***@db:5432; start it, or correct its address: nothing runs until it answers.',
      cause: refused,
    });
  });

  it('gives up within 5 s, or when it is told to', async () => {
    const solo = createStage(() => ({ examine: silence })).replica();
    const [usual, short] = [rejection(solo.ready()), rejection(solo.ready({ timeoutMs: 100 }))];
    await pass(100);
    expect(await short).toMatchObject({ message: expect.stringContaining('no answer within 100 ms') as string });
    await pass(4_800);
    expect(await usual).toBeInstanceOf(NotReadyError);
    expect(await rejection(solo.ready({ timeoutMs: 0 }))).toBeInstanceOf(OptionError);
  });

  it('ends with the solo', async () => {
    const solo = createStage(() => ({ examine: silence })).replica();
    const waiting = rejection(solo.ready());
    await solo.close();
    expect(await waiting).toBeInstanceOf(ClosedError);
    expect(await rejection(solo.ready())).toBeInstanceOf(ClosedError);
  });

  it('is no obstacle: a run that rides out the outage begins when the provider comes', async () => {
    let up = false;
    const { replica } = createStage((sound) => ({
      examine: async () => (up ? [ok] : [away]),
      tryAcquire: (...request) => (up ? sound.tryAcquire(...request) : Promise.reject(refused)),
    }));
    const solo = replica();
    expect(await rejection(solo.ready())).toBeInstanceOf(NotReadyError);
    const running = solo.run('job', () => 'ran', { onOutage: 'retry' });
    up = true;
    await pass(1_000);
    expect(await running).toMatchObject({ value: 'ran' });
    expect(await solo.ready()).toEqual([ok]);
  });
});

describe('warnUnlessReady', () => {
  it('warns once of a solo that is not, and makes nothing wait', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const solo = createStage(examined(away)).replica();
    warnUnlessReady(solo);
    warnUnlessReady(solo);
    await settle();
    expect(warned.mock.calls).toEqual([[expect.stringContaining('memory is not ready'), { code: 'SOLORUN_NOT_READY' }]]);
    expect(JSON.stringify(warned.mock.calls)).not.toContain('hunter2');
  });

  it('says nothing of one that is ready, nor of one that is closed meanwhile', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    warnUnlessReady(createStage().replica());
    const solo = createStage(() => ({ examine: silence })).replica();
    warnUnlessReady(solo);
    await solo.close();
    await pass(10_000);
    expect(warned).not.toHaveBeenCalled();
  });
});
