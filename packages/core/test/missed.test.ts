import { describe, expect, it } from 'vitest';
import type { ClaimOptions, LockProvider, SoloEvents } from '../src/index.ts';
import { at, createStage, listen, mustClaim, useFakeTime } from './stage.ts';

useFakeTime();

const every10 = { schedule: { everyMs: 10_000 }, scheduleHash: 'every 10 s' };

/** Runs each, and returns what was reported as missed. */
async function missed(runs: readonly ClaimOptions[], replace?: (sound: LockProvider) => Partial<LockProvider>) {
  const { replica } = createStage(replace);
  const solos = [replica(), replica()];
  const told = solos.map(listen);
  for (const [index, options] of runs.entries()) await (await mustClaim(solos[index % 2]!, options)).release();
  const events = told.flat().filter(({ event }) => event === 'missed') as unknown as SoloEvents['missed'][];
  return events.map(({ occurrence }) => occurrence);
}

describe('a scheduled time that no replica asked for', () => {
  it('is reported by the claim of a later one, each by an event of its own', async () => {
    const runs = [-60, -20, -10].map((seconds) => ({ ...every10, occurrence: at(seconds) }));
    expect(await missed(runs)).toEqual([-50, -40, -30].map((seconds) => ({ at: at(seconds), state: 'unclaimed', attempt: 0 })));
  });

  it('is reported of a schedule that told only its next time, and then as one', async () => {
    const cron = { schedule: { expression: '0 3 * * *' }, scheduleHash: 'nightly' };
    const runs = [
      { ...cron, occurrence: at(-90), nextDueAt: at(-60) },
      { ...cron, occurrence: at(-1), nextDueAt: at(60) },
    ];
    expect(await missed(runs)).toEqual([{ at: at(-60), state: 'unclaimed', attempt: 0 }]);
  });

  it('is reported of a schedule that can list its times, the latest 100 of them', async () => {
    const cron = {
      schedule: { expression: '* * * * * *' },
      scheduleHash: 'each second',
      *timesBetween(after: Date, before: Date): Generator<Date> {
        for (let ms = before.getTime() - 1_000; ms > after.getTime(); ms -= 1_000) yield new Date(ms);
      },
    };
    const few = [-5, -1].map((seconds) => ({ ...cron, occurrence: at(seconds) }));
    expect((await missed(few)).map(({ at: told }) => told)).toEqual([at(-4), at(-3), at(-2)]);
    const many = [-500, -1].map((seconds) => ({ ...cron, occurrence: at(seconds) }));
    const told = await missed(many);
    expect([told.length, told[0]?.at, told.at(-1)?.at]).toEqual([100, at(-101), at(-2)]);
  });

  it('is reported beside one that was started and not completed', async () => {
    const { replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    await (await mustClaim(solo, { ...every10, occurrence: at(-60) })).release({ result: 'failed', error: 'no space left' });
    await mustClaim(solo, { ...every10, occurrence: at(-30) });
    expect(told.filter(({ event }) => event === 'missed')).toMatchObject([
      { occurrence: { at: at(-60), state: 'failed', attempt: 1 } },
      { occurrence: { at: at(-50), state: 'unclaimed', attempt: 0 } },
      { occurrence: { at: at(-40), state: 'unclaimed', attempt: 0 } },
    ]);
  });

  it('is none where each was claimed', async () => {
    expect(await missed([-30, -20, -10].map((seconds) => ({ ...every10, occurrence: at(seconds) })))).toEqual([]);
  });

  it('is none of a schedule that was replaced meanwhile', async () => {
    const runs = [
      { ...every10, occurrence: at(-60) },
      { schedule: { everyMs: 20_000 }, scheduleHash: 'every 20 s', occurrence: at(-20) },
    ];
    expect(await missed(runs)).toEqual([]);
  });

  it('is none where nobody told the next time', async () => {
    expect(await missed([-60, -20].map((seconds) => ({ occurrence: at(seconds), scheduleHash: 'x' })))).toEqual([]);
  });

  it('is none where a replica of an older version left the next time as it was', async () => {
    const older = (sound: LockProvider): Partial<LockProvider> => ({
      async tryAcquire(request, signal) {
        const answer = await sound.tryAcquire(request, signal);
        if (!answer.acquired || answer.grant.previous === undefined) return answer;
        return { ...answer, grant: { ...answer.grant, previousNextDueAt: at(-50) } };
      },
    });
    expect(
      await missed(
        [-60, -50, -40].map((seconds) => ({ ...every10, occurrence: at(seconds) })),
        older,
      ),
    ).toEqual([]);
  });

  it('is unknown where neither the schedule nor the provider tells', async () => {
    const silent = (sound: LockProvider): Partial<LockProvider> => ({
      async tryAcquire(request, signal) {
        const answer = await sound.tryAcquire(request, signal);
        return answer.acquired ? { ...answer, grant: { ...answer.grant, previousNextDueAt: undefined } } : answer;
      },
    });
    const cron = { schedule: { expression: '0 3 * * *' }, scheduleHash: 'nightly' };
    const runs = [-60, -20].map((seconds) => ({ ...cron, occurrence: at(seconds), nextDueAt: at(seconds + 10) }));
    expect(await missed(runs, silent)).toEqual([]);
  });
});
