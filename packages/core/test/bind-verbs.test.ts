import { expect, it } from 'vitest';
import { bindVerbs } from '../src/bind-verbs.ts';

class Counter {
  readonly kind = 'counter';
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(by: number): number {
    this.#count += by;
    return this.#count;
  }

  [Symbol.dispose](): void {
    this.#count = 0;
  }
}

it('keeps the verbs bound in a copy', () => {
  const copy = { ...bindVerbs(new Counter()) };
  copy.add(1);
  expect(copy.add(2)).toBe(3);
  expect(copy.kind).toBe('counter');
});

it('lets a copy replace a verb', () => {
  const counter = bindVerbs(new Counter());
  const wrapped = { ...counter, add: (by: number) => counter.add(by * 10) };
  wrapped.add(1);
  expect(counter.count).toBe(10);
});

it('binds a verb whose name is a symbol', () => {
  const counter = bindVerbs(new Counter());
  counter.add(1);
  {
    using copy = { ...counter };
    expect(copy.count).toBe(1);
  }
  expect(counter.count).toBe(0);
});

it('reads a getter at each call', () => {
  const counter = bindVerbs(new Counter());
  counter.add(1);
  expect(counter.count).toBe(1);
  counter.add(1);
  expect(counter.count).toBe(2);
});
