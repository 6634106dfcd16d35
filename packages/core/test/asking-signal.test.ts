import { addAbortListener, getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createAskingController } from '../src/asking-signal.ts';
import { rejection } from './stage.ts';

const loss = new Error('the lease is over');

interface Asking {
  readonly signal: AbortSignal;
  /** How often the clock was read. */
  readonly asked: () => number;
  /** The time of the lease is over; no timer has fired yet. */
  readonly endTime: () => void;
}

function createAsking(): Asking {
  let isOver = false;
  let asked = 0;
  const controller = createAskingController({
    isTrusted() {
      asked += 1;
      if (isOver) controller.abort(loss);
      return !isOver;
    },
  });
  return {
    signal: controller.signal,
    asked: () => asked,
    endTime() {
      isOver = true;
    },
  };
}

/** Of a lease whose time is over, which no timer has found yet. */
function createOver(): AbortSignal {
  const { signal, endTime } = createAsking();
  endTime();
  return signal;
}

describe('a signal that asks the clock', () => {
  it('is a signal like any other while the lease is trusted', () => {
    const { signal } = createAsking();
    expect(signal).toBeInstanceOf(AbortSignal);
    expect(Object.prototype.toString.call(signal)).toBe('[object AbortSignal]');
    expect(signal.aborted).toBe(false);
    expect(signal.reason).toBeUndefined();
    expect(signal.throwIfAborted()).toBeUndefined();
  });

  it.each<[string, (signal: AbortSignal) => unknown, unknown]>([
    ['aborted', ({ aborted }) => aborted, true],
    ['reason', ({ reason }) => reason as unknown, loss],
  ])('finds by %s alone that the lease is over', (_, read, answer) => {
    expect(read(createOver())).toBe(answer);
  });

  it('throws the reason', () => {
    expect(() => createOver().throwIfAborted()).toThrow(loss);
  });

  it('calls its listeners in the same step, once', () => {
    const { signal, endTime } = createAsking();
    const heard: string[] = [];
    signal.addEventListener('abort', () => heard.push('listener'));
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- users do
    signal.onabort = () => heard.push('handler');
    endTime();
    expect(heard).toEqual([]);
    expect([signal.aborted, signal.aborted]).toEqual([true, true]);
    expect(heard.toSorted()).toEqual(['handler', 'listener']);
  });

  it('reads the clock once per question', () => {
    const { signal, asked } = createAsking();
    for (let question = 0; question < 3; question += 1) expect(signal.aborted).toBe(false);
    expect(asked()).toBe(3);
  });

  it('answers for its own lease', () => {
    const [over, trusted] = [createOver(), createAsking().signal];
    expect([over.aborted, trusted.aborted]).toEqual([true, false]);
  });

  it('is heeded by functions of Node that begin after the end', async () => {
    expect(await rejection(sleep(60_000, undefined, { signal: createOver() }))).toMatchObject({ name: 'AbortError', cause: loss });
    expect(await rejection(fetch('http://127.0.0.1:1', { signal: createOver() }))).toBe(loss);
    let heard = false;
    addAbortListener(createOver(), () => (heard = true));
    await new Promise(setImmediate);
    expect(heard).toBe(true);
  });

  it('takes its listeners off again', () => {
    const { signal } = createAsking();
    const listener = (): void => {};
    signal.addEventListener('abort', listener);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    signal.removeEventListener('abort', listener);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('a signal that AbortSignal.any made of one that asks the clock', () => {
  it('asks nothing itself, and is aborted as soon as the end has been found', () => {
    const { signal, endTime } = createAsking();
    const made = AbortSignal.any([signal]);
    endTime();
    expect(made.aborted).toBe(false);
    expect(signal.aborted).toBe(true);
    expect(made.aborted).toBe(true);
    expect(made.reason).toBe(loss);
  });

  it('is aborted from the start if the end had been found before', () => {
    const signal = createOver();
    expect(signal.aborted).toBe(true);
    const made = AbortSignal.any([signal, new AbortController().signal]);
    expect(made.aborted).toBe(true);
    expect(made.reason).toBe(loss);
  });
});
