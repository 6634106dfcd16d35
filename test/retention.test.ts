import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSolo, type Solo } from '@solorun/core';
import { expect, it } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start } from './json-process.ts';
import { openStore } from './programs/store.js';
import { program } from './stories.ts';

/** `SOLORUN_NAMES=20000` takes minutes. */
const NAMES = Number(process.env['SOLORUN_NAMES'] ?? 2_000);
const AGAIN = 200;
const AT_ONCE = 64;

/** Runs each once. Resolves to the fences. */
async function useOnce(solo: Solo, names: readonly string[]): Promise<Map<string, bigint>> {
  const fences = new Map<string, bigint>();
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      const result = await solo.run(name, ({ fence }) => fence);
      if (result.status === 'ran') fences.set(name, result.value);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return fences;
}

async function namesIn(solo: Solo, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of solo.list({ prefix })) names.push(name);
  return names.sort();
}

onEveryStore((store) => {
  it(
    `${NAMES} names that were used once go, and their fences do not go back, while others use some of them`,
    { timeout: 180_000 + NAMES * 50 },
    async ({ onTestFinished }) => {
      const directory = mkdtempSync(join(tmpdir(), 'solorun-retention-'));
      onTestFinished(() => rmSync(directory, { recursive: true }));
      const file = join(directory, 'fences');
      writeFileSync(file, '');
      const solo = createSolo({ provider: await openStore(store()) });
      onTestFinished(() => solo.close());
      const names = Array.from({ length: NAMES }, (_, n) => `job/${n}`);
      const before = await useOnce(solo, names);
      expect(before.size).toBe(NAMES);
      await solo.run('kept/used', () => {});
      await solo.pause('kept/paused');
      await solo.run('kept/paused', () => {}, { ignorePause: true });
      await using held = await solo.acquire('kept/held', { waitMs: 0 });

      const churning = Array.from({ length: 8 }, () => start(program('churn'), [store(), file, 'job/', String(AGAIN)]));
      await Promise.all(churning.map((each) => each.says('ready')));
      const pruning = (async () => {
        let forgotten = 0;
        for (let round = 0; round < 3; round += 1) {
          forgotten += await solo.prune({ olderThanMs: 0, prefix: 'job/' });
          if (round < 2) await churning[round]!.killed();
        }
        return forgotten;
      })();
      expect(await pruning).toBeGreaterThan(NAMES - AGAIN);
      for (const each of churning) each.kill('SIGTERM');
      await Promise.all(churning.map((each) => each.ended));

      // Those of a killed holder are free when its lease ends.
      await expect
        .poll(
          async () => {
            await solo.prune({ olderThanMs: 0, prefix: 'job/' });
            return (await namesIn(solo, '')).join();
          },
          { timeout: 60_000 },
        )
        .toBe('kept/held,kept/paused,kept/used');
      expect(await solo.prune({ olderThanMs: 0, prefix: 'kept/paused' })).toBe(0);
      expect(await solo.prune({ olderThanMs: 3_600_000 })).toBe(0);
      held.checkpoint();

      const again = await useOnce(solo, names.slice(0, AGAIN));
      const meanwhile = readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]);
      expect(meanwhile.length).toBeGreaterThan(AGAIN);
      for (const [name, fence] of again) {
        const fences = [before.get(name)!, ...meanwhile.filter(([of]) => of === name).map(([, each]) => BigInt(each)), fence];
        expect(fences, name).toEqual(fences.toSorted((a, b) => (a < b ? -1 : 1)));
        expect(new Set(fences).size, name).toBe(fences.length);
      }
    },
  );
});
