import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import cron, { type TaskOptions } from 'node-cron';
import { beforeEach, describe, expect, it } from 'vitest';
import { listenToTick, type Ear } from '../src/tick.ts';
import { assemble, EVERY_SECOND, FOREVER_DELAYED, gate, heard, quiet, uniqueName } from './fleet.ts';

const file = fileURLToPath(new URL('fixtures/background-task.js', import.meta.url));

beforeEach(assemble);

/** Listens to the first tick, grants it when `ready`, and keeps what is heard of it. */
function listening(
  name: string,
  ready: Promise<void> = Promise.resolve(),
): { readonly options: TaskOptions; readonly news: unknown[] } {
  const news: unknown[] = [];
  let ear: Ear | undefined;
  const runCoordinator = {
    async shouldRun(key: string): Promise<boolean> {
      if (ear !== undefined) return false;
      ear = listenToTick(name, new Date(key.slice(-24)), {
        ended: ({ result }) => void news.push(result),
        inDoubt: (doubt) => void news.push(doubt ? 'in doubt' : 'heard'),
      });
      await ready;
      ear.granted();
      return true;
    },
  };
  return { options: { name, distributed: true, runCoordinator, logger: quiet, maxRandomDelay: FOREVER_DELAYED }, news };
}

describe('listenToTick', () => {
  it.concurrent('hears the end of an inline task that is stopped in its random delay', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('inline'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, options));
    await heard(job, 'execution:started');
    // A second tick is refused, so the event loop has turned.
    await heard(job, 'execution:skipped');
    await job.stop();
    expect(news).toEqual(['in doubt', 'heard', 'abandoned']);
  });

  it.concurrent('is not in doubt when stop() comes too soon to cancel the delay', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('too-soon'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, { ...options, maxRandomDelay: 100 }));
    await heard(job, 'execution:started');
    // Still within the microtasks of node-cron's own.
    await job.stop();
    await heard(job, 'execution:finished');
    expect(news).toEqual(['in doubt', 'heard', 'done']);
  });

  it.concurrent('is in doubt again when a background task is stopped in its random delay', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('background'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, file, options));
    await heard(job, 'execution:started');
    await heard(job, 'execution:skipped');
    await job.stop();
    expect(news).toEqual(['in doubt', 'heard', 'in doubt']);
  });

  it.concurrent('is not misled by a task of the same name whose coordinator fails', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('namesake'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, options));
    const runCoordinator = {
      async shouldRun(): Promise<boolean> {
        await delay(50);
        throw new Error('connection refused');
      },
    };
    const namesake = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, { ...options, runCoordinator }));
    await Promise.all([heard(job, 'execution:started'), heard(namesake, 'execution:skipped')]);
    expect(news).toEqual(['in doubt', 'heard']);
  });

  it.concurrent('does not take the run of a task of the same name for its own', async ({ fleet }) => {
    const others = gate();
    const { options, news } = listening(uniqueName('namesake'), others.opened);
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, options));
    const namesake = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, { ...options, distributed: false, maxRandomDelay: 0 }));
    await heard(namesake, 'execution:finished');
    void namesake.execute();
    await heard(namesake, 'execution:finished');
    others.open();
    await heard(job, 'execution:started');
    await new Promise(setImmediate);
    await namesake.stop();
    expect(news).toEqual(['in doubt', 'heard']);
    await job.stop();
    expect(news).toEqual(['in doubt', 'heard', 'abandoned']);
  });
});
