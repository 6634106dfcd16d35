import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { it } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start, type JsonProcess } from './json-process.ts';
import { program } from './stories.ts';

const SECOND_MS = 1_000;

/** The scheduled times that were run, or that were missed, in order. */
function slotsOf(replicas: readonly JsonProcess[], word: 'ran' | 'missed', name: string): number[] {
  const lines = replicas.flatMap(({ said }) => said.filter((line) => line[word] === name));
  return lines.map(({ slot }) => Number(slot)).sort((a, b) => a - b);
}

onEveryStore(
  (store) => {
    it(
      'a fleet that was down over some ticks runs the latest, all or none of them, each once',
      { timeout: 120_000 },
      async ({ expect }) => {
        const names = ['latest', 'all', 'skip'] as const;
        const first = start(program('schedules'), [store()]);
        await expect.poll(() => names.every((name) => slotsOf([first], 'ran', name).length >= 2), { timeout: 20_000 }).toBe(true);
        // Between two ticks, so that no run of one is cut off.
        await sleep(SECOND_MS - (Date.now() % SECOND_MS) + 500);
        await first.killed();
        const last = Object.fromEntries(names.map((name) => [name, slotsOf([first], 'ran', name).at(-1)!]));
        // Down for as long as this, which is what it is about: five ticks, and half of one at both ends.
        await sleep(5 * SECOND_MS);
        const upAt = Date.now();
        const replicas = [0, 1, 2].map(() => start(program('schedules'), [store()]));
        await Promise.all(replicas.map((replica) => replica.says('ready')));
        const readyAt = Date.now();
        const hasGoneOn = (name: string): boolean => slotsOf(replicas, 'ran', name).filter((at) => at > readyAt).length >= 2;
        await expect.poll(() => names.every(hasGoneOn), { timeout: 20_000 }).toBe(true);

        for (const name of names) {
          const ran = slotsOf(replicas, 'ran', name);
          expect(ran, `${name}: each once`).toEqual([...new Set(ran)]);
          const down = (at: number): boolean => at > last[name]! && at <= upAt;
          const caughtUp = ran.filter(down);
          const missed = new Set(slotsOf(replicas, 'missed', name).filter(down));
          const all = Array.from(
            { length: Math.floor(upAt / SECOND_MS) - last[name]! / SECOND_MS },
            (_, n) => last[name]! + (n + 1) * SECOND_MS,
          );
          expect(all.length).toBeGreaterThanOrEqual(5);
          const newest = ran.filter((at) => at >= all.at(-1)! && at <= readyAt + SECOND_MS);
          const isRight = {
            all: isDeepStrictEqual(caughtUp, all),
            // The latest of all may be one of the moment in which they started.
            latest: caughtUp.length <= 1 && newest.length > 0,
            skip: caughtUp.length === 0,
          }[name];
          expect(isRight, `${name} caught up with ${caughtUp.join()} of ${all.join()}`).toBe(true);
          expect(
            [...missed].toSorted((a, b) => a - b),
            `${name}: what nobody ran is told`,
          ).toEqual(all.filter((at) => !ran.includes(at)));
        }
        // From the oldest to the newest, over the fleet: by their fences.
        const lines = replicas.flatMap(({ said }) => said.filter(({ ran }) => ran === 'all'));
        const inOrder = lines.toSorted((a, b) => Number(BigInt(String(a['fence'])) - BigInt(String(b['fence']))));
        const slots = inOrder.map(({ slot }) => Number(slot));
        expect(slots).toEqual(slots.toSorted((a, b) => a - b));
      },
    );
  },
  { concurrent: true },
);
