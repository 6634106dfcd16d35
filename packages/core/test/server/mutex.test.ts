import { expect, it } from 'vitest';
import { KeyedMutex, Mutex } from '../../src/server/mutex.ts';

/** A job that notes its beginning, and ends when the test says so. */
function jobs() {
  const begun: string[] = [];
  const ends = new Map<string, { readonly resolve: (value: string) => void; readonly reject: (error: Error) => void }>();
  const job = (name: string) => (): Promise<string> => {
    begun.push(name);
    return new Promise((resolve, reject) => void ends.set(name, { resolve, reject }));
  };
  return {
    begun,
    job,
    end: (name: string) => ends.get(name)!.resolve(name),
    fail: (name: string) => ends.get(name)!.reject(new Error(name)),
  };
}

it('begins the first job in the step that asks', () => {
  const { begun, job } = jobs();
  void new Mutex().run(job('first'));
  expect(begun).toEqual(['first']);
});

it('runs one job at a time, in the order of asking', async () => {
  const { begun, job, end } = jobs();
  const mutex = new Mutex();
  const turns = ['first', 'second', 'third'].map((name) => mutex.run(job(name)));
  end('first');
  expect(await turns[0]).toBe('first');
  await expect.poll(() => begun).toEqual(['first', 'second']);
  end('second');
  await expect.poll(() => begun).toEqual(['first', 'second', 'third']);
  end('third');
  expect(await Promise.all(turns)).toEqual(['first', 'second', 'third']);
});

it('goes on after a job that failed', async () => {
  const { job, end, fail } = jobs();
  const mutex = new Mutex();
  const failing = mutex.run(job('first'));
  const next = mutex.run(async () => 'next');
  fail('first');
  await expect(failing).rejects.toThrow('first');
  expect(await next).toBe('next');
  const again = mutex.run(job('again'));
  end('again');
  expect(await again).toBe('again');
});

it('gives a job that asks for the next turn that turn after its own', async () => {
  const order: string[] = [];
  const mutex = new Mutex();
  let inner: Promise<void> | undefined;
  await mutex.run(async () => {
    inner = mutex.run(async () => void order.push('inner'));
    await Promise.resolve();
    order.push('outer');
  });
  await inner;
  expect(order).toEqual(['outer', 'inner']);
});

it('lets keys pass each other, and forgets those that nobody uses', async () => {
  const { begun, job, end } = jobs();
  const mutex = new KeyedMutex<string>();
  const a = mutex.run('a', job('first of a'));
  const b = mutex.run('b', job('first of b'));
  const next = mutex.run('a', job('second of a'));
  expect(begun).toEqual(['first of a', 'first of b']);
  end('first of b');
  await b;
  const again = mutex.run('b', job('second of b'));
  expect(begun).toEqual(['first of a', 'first of b', 'second of b']);
  end('first of a');
  end('second of b');
  await Promise.all([a, again]);
  end('second of a');
  expect(await next).toBe('second of a');
});
