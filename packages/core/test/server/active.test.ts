import { describe, expect, it } from 'vitest';
import { Active } from '../../src/server/active.ts';

const never = new Promise<never>(() => {});

describe('what is active', () => {
  it('is handed on as it is, error or answer', async () => {
    const active = new Active();
    await expect(active.track(Promise.resolve(1))).resolves.toBe(1);
    await expect(active.track(Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  it('is over when all of it is, and what came of it meanwhile', async () => {
    const active = new Active();
    const told: string[] = [];
    let end = (): void => {};
    const first = new Promise<void>((resolve) => (end = resolve));
    void active.track(
      first.then(() => {
        told.push('first');
        void active.track(new Promise((resolve) => setImmediate(resolve)).then(() => told.push('second')));
      }),
    );
    const over = active.over(never).then(() => told.push('over'));
    end();
    await over;
    expect(told).toEqual(['first', 'second', 'over']);
  });

  it('is waited for no longer than the limit', async () => {
    const active = new Active();
    void active.track(never);
    await expect(active.over(Promise.resolve())).resolves.toBeUndefined();
  });

  it('is over at once when there is none', async () => {
    await expect(new Active().over(never)).resolves.toBeUndefined();
  });
});
