import { fileURLToPath } from 'node:url';
import cron, { type TaskOptions } from 'node-cron';
import { beforeEach, describe, expect, it } from 'vitest';
import { listenToTick, type Ear } from '../src/tick.ts';
import { assemble, EVERY_SECOND, FOREVER_DELAYED, heard, quiet, uniqueName } from './fleet.ts';

const file = fileURLToPath(new URL('fixtures/background-task.js', import.meta.url));

beforeEach(assemble);

/** Grants every tick, and keeps what is heard of the first one. */
function listening(name: string): { readonly options: TaskOptions; readonly news: unknown[] } {
  const news: unknown[] = [];
  let ear: Ear | undefined;
  const runCoordinator = {
    shouldRun(key: string): boolean {
      if (ear !== undefined) return false;
      ear = listenToTick(name, new Date(key.slice(-24)), {
        ended: ({ result }) => void news.push(result),
        inDoubt: (doubt) => void news.push(doubt ? 'in doubt' : 'heard'),
      });
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

  it.concurrent('is in doubt again when a background task is stopped in its random delay', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('background'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, file, options));
    await heard(job, 'execution:started');
    await heard(job, 'execution:skipped');
    await job.stop();
    expect(news).toEqual(['in doubt', 'heard', 'in doubt']);
  });

  it.concurrent('is not misled by a task of the same name that runs beside it', async ({ fleet }) => {
    const { options, news } = listening(uniqueName('namesake'));
    const job = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, options));
    const failing = {
      name: options.name ?? '',
      logger: quiet,
      distributed: true,
      runCoordinator: { shouldRun: () => Promise.reject(new Error()) },
    };
    const namesake = fleet.tracked(cron.schedule(EVERY_SECOND, () => {}, failing));
    await Promise.all([heard(job, 'execution:started'), heard(namesake, 'execution:skipped')]);
    void namesake.execute();
    await heard(namesake, 'execution:finished');
    await namesake.stop();
    expect(news).toEqual(['in doubt', 'heard']);
  });
});
