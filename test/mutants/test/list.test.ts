import { expect, it } from 'vitest';
import { mutants } from '../src/list.js';
import { stale } from '../src/mutant.js';

it.each(mutants)('$package, $name: what it replaces stands in its file exactly once', (mutant) => {
  expect(stale(mutant)).toBeUndefined();
});

it('no mutant bears the name of another one of its package, or changes nothing', () => {
  const names = mutants.map(({ package: where, name }) => `${where}: ${name}`);
  expect(names).toEqual([...new Set(names)]);
  expect(mutants.filter(({ from, to }) => from === to)).toEqual([]);
});
