import { describe, expect, it } from 'vitest';
import { memory } from '../src/memory.ts';
import { providerContract } from '../src/testing/index.ts';

describe('memory', () => {
  const shared = memory();
  for (const { guarantee, name, run } of providerContract({ open: () => shared })) {
    it(`${guarantee}: ${name}`, async () => {
      await expect(run()).resolves.toBeUndefined();
    });
  }
});

describe('memory with a clock of its own', () => {
  let now = Date.now();
  const shared = memory({ now: () => now });
  const pass = async (ms: number): Promise<void> => {
    now += ms;
  };
  for (const { guarantee, name, run } of providerContract({ open: () => shared, pass })) {
    it(`${guarantee}: ${name}`, async () => {
      await expect(run()).resolves.toBeUndefined();
    });
  }
});
