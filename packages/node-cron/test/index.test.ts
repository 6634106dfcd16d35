import { expect, it } from 'vitest';
import * as doors from '../src/index.ts';

it('exports exactly these names', () => {
  expect(Object.keys(doors).toSorted()).toEqual(['schedule', 'soloCoordinator']);
});
