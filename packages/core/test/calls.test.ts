import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { createCalls } from '../src/calls.ts';
import { pass, settle, silence, timersLeft, useFakeTime, watch } from './stage.ts';

useFakeTime();

const timeoutError = (): Error => new Error('no answer in time');

describe('a bounded call', () => {
  it('hands on an answer that is there at once as it is, and sets no timer', () => {
    expect(createCalls().bounded(() => 7, { timeoutMs: 100, timeoutError })).toBe(7);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('hands on what comes in time: an answer, or an error', async () => {
    const calls = createCalls();
    await expect(calls.bounded(() => Promise.resolve(7), { timeoutMs: 100, timeoutError })).resolves.toBe(7);
    await expect(calls.bounded(() => Promise.reject(new Error('no')), { timeoutMs: 100, timeoutError })).rejects.toThrow('no');
    expect(await timersLeft()).toBe(0);
  });

  it('is given up after its time, and told so by its signal, whether it heeds that or not', async () => {
    let told: AbortSignal | undefined;
    const call = watch(
      createCalls().bounded(
        (signal) => {
          told = signal;
          return silence();
        },
        { timeoutMs: 100, timeoutError },
      ) as Promise<unknown>,
    );
    await pass(99);
    expect([call.state, told?.aborted]).toEqual(['pending', false]);
    await pass(1);
    expect([call.error, told?.reason]).toEqual([timeoutError(), timeoutError()]);
  });

  it('is given up as soon as one of its signals aborts, with the reason, and listens no more', async () => {
    const [caller, closing] = [new AbortController(), new AbortController()];
    const call = watch(
      createCalls().bounded(() => silence(), {
        timeoutMs: 100,
        timeoutError,
        signals: [caller.signal, undefined, closing.signal],
      }) as Promise<unknown>,
    );
    closing.abort(new Error('closing'));
    await settle();
    expect(call.error).toEqual(new Error('closing'));
    expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
    expect(await timersLeft()).toBe(0);
  });

  it('is not made under a signal that is aborted', () => {
    const call = vi.fn<() => number>();
    const signals = [AbortSignal.abort(new Error('enough'))];
    expect(() => createCalls().bounded(call, { timeoutMs: 100, timeoutError, signals })).toThrow('enough');
    expect(call).not.toHaveBeenCalled();
  });

  it('hands a late answer to whoever undoes it, and nobody hears of a late error', async () => {
    const late: unknown[] = [];
    const calls = createCalls();
    const after = <T>(ms: number, settled: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        setTimeout(() => {
          try {
            resolve(settled());
          } catch (error) {
            reject(error);
          }
        }, ms);
      });
    const options = { timeoutMs: 100, timeoutError, late: (value: unknown) => void late.push(value) };
    const given = [
      calls.bounded(() => after(200, () => 'granted'), options),
      calls.bounded(
        () =>
          after(200, () => {
            throw new Error('late');
          }),
        options,
      ),
    ].map((call) => watch(call as Promise<unknown>));
    await pass(100);
    expect(given.map(({ error }) => error)).toEqual([timeoutError(), timeoutError()]);
    await pass(100);
    expect(late).toEqual(['granted']);
  });

  it('shares one timer with the others, and each ends in its own time', async () => {
    const calls = createCalls();
    const given = [300, 100, 200].map((timeoutMs) =>
      watch(calls.bounded(() => silence(), { timeoutMs, timeoutError }) as Promise<unknown>),
    );
    expect(vi.getTimerCount()).toBe(1);
    const states = (): string[] => given.map(({ state }) => state);
    await pass(105);
    expect(states()).toEqual(['pending', 'rejected', 'pending']);
    await pass(100);
    expect(states()).toEqual(['pending', 'rejected', 'rejected']);
    await pass(100);
    expect(states()).toEqual(['rejected', 'rejected', 'rejected']);
  });

  it('keeps the process alive while it waits, unless it is idle', async () => {
    const set = vi.spyOn(globalThis, 'setTimeout');
    const keeps = (): boolean => (set.mock.results.at(-1)!.value as NodeJS.Timeout).hasRef();
    const calls = createCalls();
    watch(calls.bounded(() => silence(), { timeoutMs: 500, timeoutError, idle: true }) as Promise<unknown>);
    expect(keeps()).toBe(false);
    const caller = new AbortController();
    watch(calls.bounded(() => silence(), { timeoutMs: 400, timeoutError, signals: [caller.signal] }) as Promise<unknown>);
    expect(keeps()).toBe(true);
    caller.abort();
    await settle();
    expect(keeps()).toBe(false);
  });
});
