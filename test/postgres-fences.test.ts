import { describe, expect, it } from 'vitest';
import { fenceLog } from './fence-log.ts';
import { hasPostgres, kinds, nameOf, onPostgres, until } from './postgres.ts';

describe.runIf(hasPostgres)('fences of Postgres', () => {
  const stage = onPostgres();
  const { written, expectToGrow, startWorkers } = fenceLog();

  for (const kind of kinds) {
    it(
      `strictly grow in the order of holding, over 10,000 acquisitions by 8 processes and a restart of the server (${nameOf[kind]})`,
      { timeout: 240_000 },
      async () => {
        const workers = startWorkers(8, stage.store(kind), '1250');
        await until('half of it is done', () => written().length >= 5_000);
        await stage.server.restart();
        for (const worker of workers) expect(await worker.ended).toBe(0);
        expect(written()).toHaveLength(10_000);
        expectToGrow();
      },
    );

    it(
      `never repeat or go back, although the server is killed ten times under those who acquire (${nameOf[kind]})`,
      { timeout: 180_000 },
      async () => {
        // What the server grants so soon after a crash is another matter.
        const workers = startWorkers(4, `${stage.store(kind)}${kind === 'advisory' ? '?settleMs=0' : ''}`, 'Infinity');
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
        expectToGrow();
      },
    );
  }
});
