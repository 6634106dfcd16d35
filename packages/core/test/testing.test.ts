import { describe, it } from 'vitest';
import { providerContract } from '../src/testing/index.ts';
import { brokenProviders } from './broken-providers.ts';

describe.concurrent('the provider contract', () => {
  for (const { says, caughtBy, make } of brokenProviders) {
    it(`catches a provider that ${says}`, { timeout: 60_000 }, async ({ expect }) => {
      const shared = make();
      const caught: string[] = [];
      await Promise.all(
        providerContract({ open: () => shared, leaseMs: 300 }).map(({ name, run }) => run().catch(() => caught.push(name))),
      );
      expect(caught).toContain(caughtBy);
    });
  }
});
