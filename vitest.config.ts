import { existsSync, readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Packages and `test/` as projects that share the settings below; run from the root: `npx vitest run --project core`. */
const packages = readdirSync('packages').filter((name) => existsSync(`packages/${name}/package.json`));

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Deadlines are far above what a test needs: they end a hang, they measure nothing.
    testTimeout: 20_000,
    hookTimeout: 20_000,
    maxWorkers: 2,
    reporters: process.env['CI'] === undefined ? ['default'] : ['verbose'],
    coverage: { provider: 'v8', include: ['packages/*/src/**/*.ts'], reporter: ['text', 'html'] },
    projects: [
      ...packages.map((name) => ({
        extends: true as const,
        root: `packages/${name}`,
        test: { name, sequence: { groupOrder: 0 } },
      })),
      // What starts processes of its own comes last and one file at a time, so that nothing else takes its processor.
      {
        extends: true,
        root: 'test',
        test: { name: 'test', include: ['**/*.test.ts'], maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
