import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { delay, linkAbort, onceAborted, unlessAborted } from '../src/abort.ts';
import { pass, settle, timersLeft, useFakeTime, watch } from './stage.ts';

useFakeTime();

const listenersOf = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

describe('a delay', () => {
  it('ends after its time', async () => {
    const waiting = watch(delay(1_000));
    await pass(999);
    expect(waiting.state).toBe('pending');
    await pass(1);
    expect(waiting.state).toBe('resolved');
  });

  it('ends early and without an error when its signal aborts, and leaves nothing behind', async () => {
    const controller = new AbortController();
    const waiting = watch(delay(1_000, controller.signal));
    controller.abort(new Error('enough'));
    await settle();
    expect(waiting.state).toBe('resolved');
    expect([listenersOf(controller.signal), await timersLeft()]).toEqual([0, 0]);
  });

  it('does not begin under a signal that is aborted', async () => {
    await delay(1_000, AbortSignal.abort());
    expect(await timersLeft()).toBe(0);
  });

  it('leaves no listener behind when it ends by itself', async () => {
    const { signal } = new AbortController();
    const waiting = delay(1_000, signal);
    await pass(1_000);
    await waiting;
    expect(listenersOf(signal)).toBe(0);
  });

  it('longer than a timer can be lasts as long as a timer can', async () => {
    const waiting = watch(delay(Number.POSITIVE_INFINITY, new AbortController().signal));
    await pass(1_000);
    expect(waiting.state).toBe('pending');
  });
});

describe('listeners by onceAborted', () => {
  it('are called once, in their order, and share one listener of the signal', () => {
    const controller = new AbortController();
    const heard: number[] = [];
    for (const n of [1, 2, 3]) onceAborted(controller.signal, () => heard.push(n));
    expect(listenersOf(controller.signal)).toBe(1);
    controller.abort();
    controller.abort();
    expect(heard).toEqual([1, 2, 3]);
  });

  it('are called at once under a signal that is aborted', () => {
    let heard = 0;
    onceAborted(AbortSignal.abort(), () => (heard += 1));
    expect(heard).toBe(1);
  });

  it('are not called after their undoing, and the last one takes the listener of the signal with it', () => {
    const controller = new AbortController();
    const heard: string[] = [];
    const undoFirst = onceAborted(controller.signal, () => heard.push('first'));
    const undoSecond = onceAborted(controller.signal, () => heard.push('second'));
    undoFirst();
    undoFirst();
    expect(listenersOf(controller.signal)).toBe(1);
    undoSecond();
    expect(listenersOf(controller.signal)).toBe(0);
    onceAborted(controller.signal, () => heard.push('third'));
    controller.abort();
    expect(heard).toEqual(['third']);
  });

  it('are two when one function listens twice', () => {
    const controller = new AbortController();
    let heard = 0;
    const listener = (): void => void (heard += 1);
    const undo = onceAborted(controller.signal, listener);
    onceAborted(controller.signal, listener);
    undo();
    controller.abort();
    expect(heard).toBe(1);
  });

  it('may be undone by one another while they are called', () => {
    const controller = new AbortController();
    const heard: string[] = [];
    let undo = (): void => {};
    onceAborted(controller.signal, () => {
      heard.push('first');
      undo();
    });
    undo = onceAborted(controller.signal, () => heard.push('second'));
    controller.abort();
    expect(heard).toEqual(['first']);
  });

  it('need no signal', () => {
    expect(() => onceAborted(undefined, () => expect.unreachable())()).not.toThrow();
  });
});

describe('a link', () => {
  it('hands the reason on', () => {
    const [source, target] = [new AbortController(), new AbortController()];
    linkAbort(source.signal, target);
    source.abort(new Error('enough'));
    expect(target.signal.reason).toEqual(new Error('enough'));
  });

  it('that is undone hands nothing on', () => {
    const [source, target] = [new AbortController(), new AbortController()];
    linkAbort(source.signal, target)();
    source.abort();
    expect(target.signal.aborted).toBe(false);
  });
});

describe('unlessAborted', () => {
  it('is the promise, as long as nothing aborts', async () => {
    const { signal } = new AbortController();
    await expect(unlessAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(unlessAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    await settle();
    expect(listenersOf(signal)).toBe(0);
  });

  it('rejects with the reason when the signal aborts, before or while it waits', async () => {
    const controller = new AbortController();
    const waiting = watch(unlessAborted(new Promise(() => {}), controller.signal));
    controller.abort(new Error('enough'));
    await settle();
    expect(waiting.error).toEqual(new Error('enough'));
    await expect(unlessAborted(Promise.resolve(1), controller.signal)).rejects.toThrow('enough');
  });
});
