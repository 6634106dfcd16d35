import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import cron from 'node-cron';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const root = join(import.meta.dirname, '..');
const snippets = join(root, 'examples/snippets/src');
const programs = readdirSync(snippets).map((name) => ({ name, text: readFileSync(join(snippets, name), 'utf8') }));

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  // Without docs/api, which is made from the packages.
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
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
    expect(unused.sort()).toEqual(['etl.ts', 'nightly-backup.js', 'solo.ts']);
  });
});

describe('the programs of the docs run', () => {
  const before = process.cwd();
  const hasPostgres = postgresMissing() === undefined || process.env['CI'] === 'true';
  const hasRedis = redisMissing() === undefined || process.env['CI'] === 'true';
  let directory: string;
  let redis: Redis | undefined;
  /** For those that read its address from the environment. */
  let server: Postgres | undefined;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-docs-'));
    process.chdir(directory);
    writeFileSync('accounts.json', '{}');
    if (hasPostgres) {
      server = await startPostgres();
      vi.stubEnv('DATABASE_URL', server.url);
      await ask('CREATE TABLE invoice (customer text)');
    }
    if (hasRedis) {
      redis = await startRedis();
      vi.stubEnv('REDIS_URL', redis.url);
    }
    vi.spyOn(console, 'log').mockImplementation(() => {});
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    await server?.stop();
    await redis?.stop();
    await cron.shutdown();
    process.chdir(before);
    rmSync(directory, { recursive: true });
  });

  async function ask(sql: string): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: server?.url });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  const runnable = programs.filter(({ name }) => name.endsWith('.ts') && name !== 'contract.ts');
  const onPostgres = runnable.filter(({ text }) => text.includes('DATABASE_URL')).map(({ name }) => name);
  const onRedis = runnable.filter(({ text }) => text.includes('REDIS_URL')).map(({ name }) => name);
  const others = runnable.map(({ name }) => name).filter((name) => ![...onPostgres, ...onRedis].includes(name));
  it.each(others)('%s', async (name) => {
    await expect(import(join(snippets, name))).resolves.toBeDefined();
  });
  it.runIf(hasPostgres).each(onPostgres)('%s', async (name) => {
    await expect(import(join(snippets, name))).resolves.toBeDefined();
  });

  it.runIf(hasRedis).each(onRedis)('%s', async (name) => {
    await expect(import(join(snippets, name))).resolves.toBeDefined();
  });

  it('and do what they say', () => {
    expect(readFileSync('accounts.json', 'utf8')).toBe('{"ada":1}');
  });

  it('and print what docs/node-cron.md says: of two replicas, one runs each tick', () => {
    const { calls } = vi.spyOn(console, 'log').mock;
    const lines = calls.map(([line]) => String(line));
    const reports = lines.flatMap((line) => /^[ab]: the report of (\S+Z)$/.exec(line)?.[1] ?? []);
    expect(reports.length).toBeGreaterThan(0);
    expect(reports).toEqual([...new Set(reports)]);
    expect(lines).toContainEqual(expect.stringMatching(/^[ab]: skipped \((?:held|done)\)$/));
  });

  it.runIf(hasRedis && hasPostgres)(
    'and print what docs/redis.md and docs/postgres.md say: one of two replicas makes the report',
    () => {
      const { calls } = vi.spyOn(console, 'log').mock;
      const pairs = calls.flatMap(([printed]) => (Array.isArray(printed) ? [(printed as unknown[]).map(String).toSorted()] : []));
      expect(pairs).toContainEqual([expect.stringMatching(/^made under fence \d{16}$/), 'skipped (done)']);
      expect(pairs).toContainEqual([expect.stringMatching(/^made under fence \d{1,15}$/), 'skipped (done)']);
    },
  );

  it.runIf(hasPostgres)('and do what they say on Postgres', async () => {
    expect(await ask('SELECT customer FROM invoice ORDER BY customer')).toEqual([{ customer: 'ada' }, { customer: 'grace' }]);
  });
});
