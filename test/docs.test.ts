import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import cron from 'node-cron';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const root = join(import.meta.dirname, '..');
const snippets = join(root, 'examples/snippets/src');
const programs = readdirSync(snippets).map((name) => ({ name, text: readFileSync(join(snippets, name), 'utf8') }));

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
  ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/README.md`),
];

function blocks(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/```(?:ts|js|typescript|javascript)\n([\s\S]*?)```/g)].map(([, block]) => block!);
}

describe('the code in the docs', () => {
  it.each(pages)('of %s is part of a program in examples/snippets', (page) => {
    for (const block of blocks(page)) {
      expect(
        programs.some(({ text }) => text.includes(block)),
        `no program has this part:\n${block}`,
      ).toBe(true);
    }
  });

  it('leaves no program unused', () => {
    const shown = pages.flatMap(blocks);
    const unused = programs.filter(({ text }) => !shown.some((block) => text.includes(block))).map(({ name }) => name);
    // What other programs import.
    expect(unused.sort()).toEqual(['nightly-backup.js', 'solo.ts']);
  });
});

describe('the programs of the docs run', () => {
  const before = process.cwd();
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-docs-'));
    process.chdir(directory);
    writeFileSync('accounts.json', '{}');
    vi.spyOn(console, 'log').mockImplementation(() => {});
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await cron.shutdown();
    process.chdir(before);
    rmSync(directory, { recursive: true });
  });

  const runnable = programs.filter(({ name }) => name.endsWith('.ts') && name !== 'contract.ts').map(({ name }) => name);
  it.each(runnable)('%s', async (name) => {
    await expect(import(join(snippets, name))).resolves.toBeDefined();
  });

  it('and do what they say', () => {
    expect(readFileSync('accounts.json', 'utf8')).toBe('{"ada":1}');
  });
});
