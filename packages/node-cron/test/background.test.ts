import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Solo, SoloEvents } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import cron, { type RunCoordinator, type ScheduledTask } from 'node-cron';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { soloCoordinator } from '../src/index.ts';
import { answered, assemble, EVERY_SECOND, FOREVER_DELAYED, heard, quiet, uniqueName, type Fleet } from './fleet.ts';

const file = fileURLToPath(new URL('./fixtures/background-task.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'solorun-background-'));
const journal = join(directory, 'journal');
process.env['SOLORUN_TEST_JOURNAL'] = journal;
afterAll(() => rmSync(directory, { recursive: true }));

/** What the processes of a task wrote: `start` or `end`, and the tick. */
function written(name: string): { readonly what: string; readonly tick: number }[] {
  const lines = readFileSync(journal, 'utf8').split('\n');
  return lines
    .map((line) => line.split(' '))
    .filter(([who]) => who === name)
    .map(([, what = '', tick = '']) => ({ what, tick: Date.parse(tick) }));
}

const released = (solo: Solo): Promise<SoloEvents['released']> => new Promise((resolve) => solo.on('released', resolve));

function task(fleet: Fleet, name: string, runCoordinator: RunCoordinator, options = {}): ScheduledTask {
  return fleet.tracked(cron.schedule(EVERY_SECOND, file, { name, distributed: true, runCoordinator, logger: quiet, ...options }));
}

beforeEach(assemble);

describe('soloCoordinator with tasks that node-cron runs in a process of their own', () => {
  it.concurrent('runs each tick on one replica', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('short');
    const tasks = [0, 1].map(() => task(fleet, name, soloCoordinator(fleet.replica(provider))));
    const ticks = (await Promise.all(tasks.map((each) => answered(each, 3)))).flat();
    const runs = written(name).filter(({ what }) => what === 'start');
    const runsOf = (tick: number): number => runs.filter((run) => run.tick === tick).length;
    expect(ticks.map(runsOf)).toEqual(ticks.map(() => 1));
  });

  it.concurrent('runs no tick while an earlier one still runs in another process', async ({ fleet }) => {
    const provider = memory();
    const name = uniqueName('long');
    const tasks = [0, 1].map(() => task(fleet, name, soloCoordinator(fleet.replica(provider))));
    await Promise.all(tasks.map((each) => answered(each, 2)));
    const steps = written(name).map(({ what }) => what);
    expect(steps.slice(0, 2)).toEqual(['start', 'end']);
    expect(steps).toEqual(steps.map((_, index) => (index % 2 === 0 ? 'start' : 'end')));
  });

  it.concurrent('marks the occurrence failed when the handler rejects', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('fail');
    const over = released(solo);
    task(fleet, name, soloCoordinator(solo));
    expect((await over).outcome).toBe('failed');
    expect(await solo.inspect(name)).toMatchObject({ lastError: 'disk full' });
  });

  it.concurrent('frees the lock when the process ends in the middle of a run, where node-cron tells nobody', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const name = uniqueName('exit');
    const over = released(solo);
    task(fleet, name, soloCoordinator(solo));
    expect((await over).outcome).toBe('failed');
    expect(await solo.inspect(name)).toMatchObject({ held: false, occurrence: { state: 'failed' } });
  });

  it.concurrent('undoes a claim whose answer came too late for the process that asked', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const coordinator = soloCoordinator(solo);
    const stalled: RunCoordinator = {
      ...coordinator,
      async shouldRun(key, ttlMs) {
        const allowed = await coordinator.shouldRun(key, ttlMs);
        await delay(10_000, undefined, { ref: false });
        return allowed;
      },
    };
    const over = released(solo);
    const job = task(fleet, uniqueName('stalled'), stalled);
    const { reason } = await heard(job, 'execution:skipped', (context) => context.reason === 'coordinator-error');
    expect(reason).toBe('coordinator-error');
    expect((await over).outcome).toBe('abandoned');
  });

  it.concurrent('frees the lock when the process is killed in its random delay', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const over = released(solo);
    const job = task(fleet, uniqueName('killed'), soloCoordinator(solo), { maxRandomDelay: FOREVER_DELAYED });
    await heard(job, 'execution:started');
    (job as unknown as { forkProcess: { kill(): void } }).forkProcess.kill();
    expect((await over).outcome).toBe('failed');
  });

  it.concurrent('gives the lock back after maxRunMs when stop() comes in the random delay', async ({ fleet }) => {
    const solo = fleet.replica(memory());
    const over = released(solo);
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const job = task(fleet, uniqueName('stopped'), soloCoordinator(solo, { maxRunMs: 1_000 }), { maxRandomDelay: FOREVER_DELAYED });
    await heard(job, 'execution:started');
    await job.stop();
    expect((await over).outcome).toBe('failed');
    warn.mockRestore();
  });
});
