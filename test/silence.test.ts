import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { it } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start } from './json-process.ts';
import { program } from './stories.ts';

const solorun = join(import.meta.dirname, '../packages/cli/bin/solorun.js');

/** The exit status of `solorun check`. */
function check(store: string, ...words: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const { protocol, href } = new URL(store);
    const url = protocol === 'file:' ? `file:${new URL(store).pathname}` : href.replace(/\?settleMs=0$/, '');
    execFile(process.execPath, [solorun, 'check', ...words], { env: { ...process.env, SOLORUN_STORE: url } }, (error) => {
      resolve(error === null ? 0 : Number(error.code));
    });
  });
}

onEveryStore(
  (store) => {
    it('a job whose replicas all stand still is noticed, and so is its return', { timeout: 120_000 }, async ({ expect }) => {
      const replicas = [0, 1, 2].map(() => start(program('silent'), [store()]));
      await Promise.any(replicas.map((replica) => replica.says('ran')));
      expect(await check(store(), 'heard', '--late', '3s')).toBe(0);
      for (const replica of replicas) replica.kill('SIGSTOP');
      const stopped = Date.now();
      await expect.poll(() => check(store(), 'heard', '--late', '3s'), { timeout: 20_000, interval: 100 }).toBe(1);
      expect(Date.now() - stopped).toBeGreaterThan(1_000);
      for (const replica of replicas) replica.kill('SIGCONT');
      await expect.poll(() => check(store(), 'heard', '--late', '3s'), { timeout: 20_000, interval: 100 }).toBe(0);
    });
  },
  { concurrent: true },
);
