import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

/** A project that shares the settings here; what else a package needs (a plugin) stands in its own vitest.config.ts. */
function project(root: string, name: string, test: TestProjectInlineConfiguration['test']): TestProjectInlineConfiguration {
  const own = join(import.meta.dirname, root, 'vitest.config.ts');
  return {
    ...(existsSync(own) ? { extends: own } : {}),
    root: join(import.meta.dirname, root),
    // The deadlines are far above what a test needs: they end a hang and measure nothing.
    test: { name, testTimeout: 20_000, hookTimeout: 20_000, ...test },
  };
}

/** The directories that hold a package with tests. */
function below(directory: string): string[] {
  const path = join(import.meta.dirname, directory);
  if (!existsSync(path)) return [];
  return readdirSync(path).filter((name) => existsSync(join(path, name, 'package.json')) && existsSync(join(path, name, 'test')));
}

const alone = { maxWorkers: 1, sequence: { groupOrder: 1 } };

// From the root: npx vitest run --project core occurrence
export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: process.env['CI'] === undefined ? ['default'] : ['verbose'],
    coverage: { provider: 'v8', include: ['packages/*/src/**/*.ts'], reporter: ['text', 'html'] },
    projects: [
      ...below('packages').map((name) =>
        project(`packages/${name}`, name, { include: ['test/**/*.test.ts'], sequence: { groupOrder: 0 } }),
      ),
      // What starts processes of its own comes last, one file at a time: nothing else takes its processors.
      ...below('examples').map((name) =>
        project(`examples/${name}`, `example-${name}`, { include: ['test/**/*.test.ts'], ...alone }),
      ),
      project('servers', 'servers', { include: ['test/**/*.test.ts'], ...alone }),
      project('test', 'test', { include: ['*.test.ts'], ...alone }),
      project('test/faults', 'faults', { include: ['test/**/*.test.ts'], ...alone }),
      project('test/mutants', 'mutants', { include: ['test/**/*.test.ts'], ...alone }),
      project('test/compare', 'compare', { include: ['test/**/*.test.ts'], ...alone }),
      project('bench', 'bench', { include: ['test/**/*.test.ts'], ...alone }),
    ],
  },
});
