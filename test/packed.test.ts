import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { node, npm, tsc } from './programs.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const published = [
  '@solorun/bullmq',
  '@solorun/cli',
  '@solorun/core',
  '@solorun/lockfile',
  '@solorun/node-cron',
  '@solorun/postgres',
  '@solorun/redis',
];
/** What users have themselves, and which of our packages tells the version that is tested. */
const peersOf = { bullmq: 'bullmq', ioredis: 'redis', 'node-cron': 'node-cron', pg: 'postgres' };

interface Tarball {
  readonly name: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

interface Manifest {
  readonly devDependencies: Record<string, string>;
}

interface Lock {
  readonly packages: Record<string, { readonly hasInstallScript?: boolean }>;
}

async function json<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(...path), 'utf8')) as T;
}

describe('the packages as they are published', () => {
  let directory: string;
  let tarballs: readonly Tarball[];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'solorun-packed-'));
    const workspaces = published.map((name) => `--workspace=${name}`);
    const packed = await npm(['pack', '--json', '--pack-destination', directory, ...workspaces], root);
    tarballs = Object.values(JSON.parse(packed.stdout) as Record<string, Tarball>);
    await writeFile(join(directory, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
    const peers = await Promise.all(
      Object.entries(peersOf).map(async ([peer, directoryOfUser]) => {
        const { devDependencies } = await json<Manifest>(root, 'packages', directoryOfUser, 'package.json');
        return `${peer}@${devDependencies[peer]}`;
      }),
    );
    const wanted = [...tarballs.map(({ filename }) => `./${filename}`), ...peers];
    await npm(['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', ...wanted], directory);
  }, 180_000);

  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('hold their sources, what was compiled from them, and a licence; no tests, no leftovers', () => {
    expect(tarballs.map(({ name }) => name).sort()).toEqual(published);
    for (const { name, files } of tarballs) {
      const paths = files.map(({ path }) => path);
      const entry = name === '@solorun/cli' ? 'main' : 'index';
      expect(paths, name).toEqual(
        expect.arrayContaining(['LICENSE', 'package.json', `dist/${entry}.js`, `dist/${entry}.d.ts`, `src/${entry}.ts`]),
      );
      const sources = paths.filter((path) => path.startsWith('src/')).map((path) => path.slice('src/'.length).replace(/\.ts$/, ''));
      const expected = sources.flatMap((path) => [
        `src/${path}.ts`,
        ...['js', 'js.map', 'd.ts', 'd.ts.map'].map((end) => `dist/${path}.${end}`),
      ]);
      const commands = ['bin/solorun.js', 'bin/withlock.js', 'man/solorun.1', 'man/withlock.1'];
      const others = ['LICENSE', 'README.md', 'CHANGELOG.md', 'package.json', ...(name === '@solorun/cli' ? commands : [])];
      const leftovers = paths.filter((path) => ![...expected, ...others].includes(path) || path.includes('.test.'));
      expect(leftovers, name).toEqual([]);
    }
  });

  it('are installed without a script, with one core for all', async () => {
    const installed = Object.entries((await json<Lock>(directory, 'package-lock.json')).packages);
    const paths = installed.map(([path]) => path);
    expect(paths.filter((path) => path.endsWith('@solorun/core'))).toEqual(['node_modules/@solorun/core']);
    const withScript = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
    // An optional part of BullMQ's, for those who use BullMQ.
    expect(withScript.filter((path) => path !== 'node_modules/msgpackr-extract')).toEqual([]);
    for (const name of published) {
      const { scripts = {} } = await json<{ scripts?: object }>(directory, 'node_modules', name, 'package.json');
      const atInstall = Object.keys(scripts).filter((script) => /install|prepare/.test(script));
      expect(atInstall, name).toEqual([]);
    }
  });

  it('run a job when imported', async () => {
    await writeFile(
      join(directory, 'consumer.mjs'),
      `import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import * as suite from '@solorun/core/testing';
import { lockfile } from '@solorun/lockfile';
import { schedule, soloCoordinator } from '@solorun/node-cron';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { attachWorker, singletonProcessor } from '@solorun/bullmq';
const [, , connectionString, url] = process.argv;
const onPostgres = connectionString ? [postgresAdvisory({ connectionString }), postgresLease({ connectionString })] : [];
const onRedis = url ? [redis({ url, settleMs: 0 })] : [];
const fences = [];
for (const provider of [memory(), lockfile({ directory: 'locks' }), ...onPostgres, ...onRedis]) {
  const solo = createSolo({ provider });
  fences.push((await solo.run('job', ({ fence }) => String(fence))).value);
  await solo.close();
}
console.log(JSON.stringify([fences, typeof schedule, typeof soloCoordinator, typeof attachWorker, typeof singletonProcessor, Object.keys(suite).length > 0]));
`,
    );
    await using server = postgresMissing() === undefined ? await startPostgres() : undefined;
    await using redisServer = redisMissing() === undefined ? await startRedis() : undefined;
    const { stdout } = await node(['consumer.mjs', server?.url ?? '', redisServer?.url ?? ''], directory);
    const [fences, ...rest] = JSON.parse(stdout) as [fences: unknown[], ...unknown[]];
    const providers = 2 + (server === undefined ? 0 : 2) + (redisServer === undefined ? 0 : 1);
    expect(fences.map((fence) => typeof fence)).toEqual(Array.from({ length: providers }, () => 'string'));
    expect(rest).toEqual(['function', 'function', 'function', 'function', true]);
  });

  it('bring a command line that runs a command', async () => {
    const child = ['run', 'job', '--store', 'file:locks-cli', '--', process.execPath, '-p', 'process.env.SOLORUN_FENCE'];
    expect((await node([join('node_modules/.bin/solorun'), ...child], directory)).stdout).toMatch(/^\d+\n$/);
  });

  it.runIf(process.features.require_module)('run a job when required', async () => {
    await writeFile(
      join(directory, 'consumer.cjs'),
      `const { createSolo } = require('@solorun/core');
const { memory } = require('@solorun/core/memory');
const { lockfile } = require('@solorun/lockfile');
const { schedule, soloCoordinator } = require('@solorun/node-cron');
const { postgresAdvisory, postgresLease } = require('@solorun/postgres');
const { redis } = require('@solorun/redis');
const { singletonProcessor } = require('@solorun/bullmq');
(async () => {
  const statuses = [];
  for (const provider of [memory(), lockfile({ directory: 'locks-cjs' })]) {
    const solo = createSolo({ provider });
    statuses.push((await solo.run('job', () => {})).status);
    await solo.close();
  }
  console.log(JSON.stringify([statuses, typeof schedule, typeof soloCoordinator, typeof postgresAdvisory, typeof postgresLease, typeof redis, typeof singletonProcessor]));
})();
`,
    );
    const functions = Array.from({ length: 6 }, () => 'function');
    expect(JSON.parse((await node(['consumer.cjs'], directory)).stdout)).toEqual([['ran', 'ran'], ...functions]);
  });

  it.each(['nodenext', 'bundler'])(
    'have types that hold under moduleResolution %s',
    async (moduleResolution) => {
      const source = `import { createSolo, type Lease, type LockProvider, type RunResult } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import { lockfile } from '@solorun/lockfile';
import { schedule, soloCoordinator } from '@solorun/node-cron';
import { guard, postgresAdvisory, postgresLease, schemaSql, type PostgresPool } from '@solorun/postgres';
import { attachWorker, isSkipped, singletonProcessor } from '@solorun/bullmq';
import { redis } from '@solorun/redis';
import { Worker, type Job } from 'bullmq';
import { Redis } from 'ioredis';
import { setRunCoordinator, type RunCoordinator } from 'node-cron';

declare const pool: PostgresPool;
const sql: string = schemaSql({ schema: 'locks' });
const providers: LockProvider[] = [
  memory(),
  lockfile({ directory: './locks' }),
  postgresAdvisory({ connectionString: 'postgres://localhost/app', onWarning: (message: string) => console.warn(message, sql) }),
  postgresLease({ pool, notify: false }),
  redis({ url: 'redis://localhost' }),
  redis({ client: new Redis({ lazyConnect: true }), prefix: 'app' }),
];
for (const provider of providers) {
  const solo = createSolo({ provider, leaseMs: 5_000 });
  const result: RunResult<bigint> = await solo.run('job', ({ fence, signal }) => (signal.throwIfAborted(), fence));
  if (result.status === 'ran') result.value.toString();
  else result.reason.toUpperCase();
  const lease: Lease | undefined = await solo.tryAcquire('job');
  if (lease) await guard(lease, pool);
  await lease?.release();
  const coordinator: RunCoordinator = soloCoordinator(solo);
  setRunCoordinator(coordinator);
  const task = schedule(solo, '0 3 * * *', async ({ signal, fence, occurrence, attempt, recovering }) => {
    console.log(signal.aborted, fence + 1n, occurrence, attempt + 1, recovering);
  }, { name: 'job' });
  await task.stop();
  const processor = singletonProcessor<{ step: string }, number>(solo, { name: (job) => job.data.step }, (job, _token, signal, run) => {
    signal.throwIfAborted();
    run.checkpoint();
    return job.data.step.length;
  });
  const worker = new Worker<{ step: string }>('etl', processor, { connection: {} });
  attachWorker(worker)();
  worker.on('completed', (job: Job) => isSkipped(job.returnvalue) && job.returnvalue.reason);
  // @ts-expect-error: a lease is a number of milliseconds, or null
  createSolo({ provider, leaseMs: '5s' });
}
`;
      const file = `${moduleResolution}.ts`;
      await writeFile(join(directory, file), source);
      const compilerOptions = {
        target: 'es2023',
        module: moduleResolution === 'nodenext' ? 'nodenext' : 'esnext',
        moduleResolution,
        strict: true,
        noEmit: true,
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
      };
      const project = `tsconfig.${moduleResolution}.json`;
      await writeFile(join(directory, project), JSON.stringify({ compilerOptions, files: [file] }));
      expect((await tsc(['-p', project], directory)).stdout).toBe('');
    },
    60_000,
  );
});
