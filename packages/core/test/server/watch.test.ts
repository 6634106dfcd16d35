import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { createWatch, type Watch } from '../../src/server/index.ts';

const LONG_MS = 60_000;
const { signal: never } = new AbortController();
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Stage extends Watch {
  /** The names of each look. */
  readonly looks: string[][];
}

describe('a watch', () => {
  const controllers: AbortController[] = [];
  afterEach(() => {
    for (const controller of controllers.splice(0)) controller.abort();
  });
  const signal = (): AbortSignal => {
    const controller = new AbortController();
    controllers.push(controller);
    return controller.signal;
  };

  function stage(free: () => readonly string[] | Promise<never> = () => [], everyMs: () => number = () => LONG_MS): Stage {
    const looks: string[][] = [];
    const watch = createWatch({
      everyMs,
      look: async (names) => {
        looks.push(names.map(({ name, key }) => `${name} ${key}`));
        return free();
      },
    });
    return { ...watch, looks };
  }

  it('looks once for all that begin to wait in one turn, each name once', async () => {
    const watch = stage(() => ['a', 'b']);
    await Promise.all([watch.until('a', '1', never), watch.until('b', '2', never), watch.until('a', '1', never)]);
    expect(watch.looks).toEqual([['a 1', 'b 2']]);
  });

  it('wakes all that wait for a key when it is notified, and no others', async () => {
    const watch = stage();
    const woken: string[] = [];
    const wait = (name: string, key: string): Promise<void> => watch.until(name, key, signal()).then(() => void woken.push(name));
    const [first, second] = [wait('a', '1'), wait('a', '1')];
    void wait('b', '2');
    await nextTurn();
    watch.notified('1');
    await Promise.all([first, second]);
    expect(woken).toEqual(['a', 'a']);
  });

  it('wakes all when notifications may have been missed', async () => {
    const watch = stage();
    const waiting = [watch.until('a', '1', never), watch.until('b', '2', never)];
    await nextTurn();
    watch.wakeAll();
    await expect(Promise.all(waiting)).resolves.toHaveLength(2);
  });

  it('looks again and again while somebody waits, and no more afterwards', async () => {
    const watch = stage(
      () => (watch.looks.length < 3 ? [] : ['a']),
      () => 1,
    );
    await watch.until('a', '1', never);
    expect(watch.looks).toHaveLength(3);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(watch.looks).toHaveLength(3);
  });

  it('rejects for all whose look failed, and looks again for those that come later', async () => {
    let away = true;
    const watch = stage(() => (away ? Promise.reject(new Error('away')) : ['a']));
    const failed = await Promise.allSettled([watch.until('a', '1', never), watch.until('b', '2', never)]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    away = false;
    await expect(watch.until('a', '1', never)).resolves.toBeUndefined();
  });

  it('ends without an error when its signal aborts, and listens no more', async () => {
    const watch = stage();
    const controller = new AbortController();
    const waiting = watch.until('a', '1', controller.signal);
    controller.abort();
    await waiting;
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await nextTurn();
    expect(watch.looks).toEqual([]);
    await watch.until('a', '1', AbortSignal.abort());
  });
});
