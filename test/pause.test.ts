import { createSolo } from '@solorun/core';
import { expect, it } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start } from './json-process.ts';
import { now } from './programs/say.js';
import { openStore } from './programs/store.js';
import { program } from './stories.ts';

/** `SOLORUN_ROUNDS=200` takes a minute. */
const ROUNDS = Number(process.env['SOLORUN_ROUNDS'] ?? 50);
const REPLICAS = 8;

// With faults on top: the nemesis `pause` of the fault programme.
onEveryStore((store) => {
  it(
    `no run that is asked for after a pause starts before its end, in ${ROUNDS} rounds`,
    { timeout: 60_000 + ROUNDS * 1_000 },
    async () => {
      const name = 'paused now and then';
      const replicas = Array.from({ length: REPLICAS }, () => start(program('eager'), [store(), name, '20']));
      const solo = createSolo({ provider: await openStore(store()) });
      const begun = (): number => replicas.reduce((sum, { said }) => sum + said.filter((line) => 'began' in line).length, 0);
      const pauses: { readonly from: number; readonly until: number }[] = [];
      try {
        await expect.poll(begun, { timeout: 30_000 }).toBeGreaterThan(0);
        for (let round = 0; round < ROUNDS; round += 1) {
          await solo.pause(name, { note: `round ${round}` });
          const from = now();
          await Promise.all(replicas.map((replica) => replica.says('paused', { paused: `round ${round}` })));
          pauses.push({ from, until: now() });
          const before = begun();
          expect(await solo.resume(name)).toBe(true);
          await expect.poll(begun, { interval: 2, timeout: 30_000 }).toBeGreaterThan(before);
        }
      } finally {
        await solo.close();
      }
      const runs = replicas.flatMap(({ said }) => said.filter((line) => 'began' in line));
      expect(runs.length).toBeGreaterThanOrEqual(ROUNDS);
      const bad = runs.filter(({ asked, began }) =>
        pauses.some(({ from, until }) => Number(asked) > from && Number(began) < until),
      );
      expect(bad).toEqual([]);
    },
  );
});
