import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { providerContract } from '@solorun/core/testing';
import { afterAll, describe, it } from 'vitest';
import { lockfile, type LocalLockOptions } from '../src/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'solorun-contract-'));
afterAll(() => rmSync(directory, { recursive: true }));

const variations: [string, LocalLockOptions][] = [
  ['lockfile', {}],
  ['lockfile flushing everything', { flush: 'always' }],
  ['lockfile with the process table alone', { crashDetection: 'processes' }],
  ['lockfile with expiry alone', { crashDetection: 'never' }],
];

for (const [name, options] of variations) {
  describe.concurrent(`as a ${name}`, () => {
    const place = join(directory, name.replaceAll(/\W/g, '-'));
    const cases = providerContract({ open: () => lockfile({ directory: place, ...options }) });
    for (const { guarantee, name: says, run } of cases) {
      it(`${guarantee}: ${says}`, async ({ expect }) => {
        await expect(run()).resolves.toBeUndefined();
      });
    }
  });
}
