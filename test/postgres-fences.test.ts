import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { start, type JsonProcess } from './json-process.ts';
import { hasPostgres, kinds, nameOf, onPostgres, until } from './postgres.ts';
import { program } from './stories.ts';

describe.runIf(hasPostgres)('fences of Postgres', () => {
  const stage = onPostgres();
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-fences-'));
    file = join(directory, 'fences');
    writeFileSync(file, '');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** In the order of holding: they are written under the lock. */
  const written = (): bigint[] => readFileSync(file, 'utf8').trimEnd().split('\n').filter(Boolean).map(BigInt);

  function expectToGrow(fences: readonly bigint[]): void {
    const bad = fences.flatMap((fence, n) => (n === 0 || fence > fences[n - 1]! ? [] : [`${fence} after ${fences[n - 1]}`]));
    expect(bad).toEqual([]);
  }

  const startWorkers = (count: number, ...args: string[]): JsonProcess[] =>
    Array.from({ length: count }, () => start(program('fences'), args));

  for (const kind of kinds) {
    it(
      `strictly grow in the order of holding, over 10,000 acquisitions by 8 processes and a restart of the server (${nameOf[kind]})`,
      { timeout: 240_000 },
      async () => {
        const workers = startWorkers(8, stage.store(kind), file, '1250');
        await until('half of it is done', () => written().length >= 5_000);
        await stage.server.restart();
        for (const worker of workers) expect(await worker.ended).toBe(0);
        const fences = written();
        expect(fences).toHaveLength(10_000);
        expectToGrow(fences);
      },
    );

    it(
      `never repeat or go back, although the server is killed ten times under those who acquire (${nameOf[kind]})`,
      { timeout: 180_000 },
      async () => {
        const workers = startWorkers(4, stage.store(kind), file, 'Infinity');
        for (let kills = 0; kills < 10; kills += 1) {
          const before = written().length;
          await until('they go on by themselves', () => written().length > before + 50);
          await stage.server.kill();
          await stage.server.start();
        }
        const before = written().length;
        await until('they go on by themselves', () => written().length > before + 50);
        for (const worker of workers) worker.kill('SIGTERM');
        // A crash of theirs, or a promise that nobody waits for, would show here.
        for (const worker of workers) expect(await worker.ended).toBe(0);
        expectToGrow(written());
      },
    );
  }
});
