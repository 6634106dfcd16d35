import { createSolo, type Solo } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import type { Job } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attachWorker, singletonProcessor, type JobStoppedError, type SingletonProcessor } from '../src/index.ts';
import { onEachBackend, reaches, until, type Line } from './backends.ts';

let solo: Solo;
beforeEach(() => {
  solo = createSolo({ provider: memory() });
});
afterEach(() => solo.close({ graceMs: 5_000 }));

/** A job that runs until it is asked to stop, or told to go on. */
function patient(): {
  readonly processor: SingletonProcessor<unknown, unknown, string>;
  readonly runs: { readonly job: Job; readonly signal: AbortSignal; end(): void }[];
} {
  const runs: { job: Job; signal: AbortSignal; end: () => void }[] = [];
  const processor = singletonProcessor<unknown, unknown>(solo, { name: 'x' }, (job, _token, signal) => {
    return new Promise<string>((resolve, reject) => {
      runs.push({ job, signal, end: () => resolve('done') });
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  });
  return { processor, runs };
}

onEachBackend('attachWorker', (stage) => {
  let line: Line;
  beforeEach(() => {
    line = stage.queue();
  });

  describe('a job whose own lock is lost', () => {
    it('is asked to stop with the first renewal that fails, which BullMQ alone does not do', async () => {
      for (const attached of [false, true]) {
        const { queue, stealLock, worker: start } = stage.queue();
        const { processor, runs } = patient();
        const worker = start(processor, { lockDuration: 300 });
        if (attached) attachWorker(worker);
        const { id } = await queue.add('step', {});
        await until('it runs', () => runs[0]);
        const renewal = new Promise<string[]>((resolve) => worker.once('lockRenewalFailed', resolve));
        await stealLock(runs[0]!.job);
        expect(await renewal).toEqual([id]);
        const { aborted, reason } = runs[0]!.signal;
        const { code, reason: cause, job } = (reason ?? {}) as Partial<JobStoppedError>;
        const told = attached ? ['SOLORUN_JOB_STOPPED', 'lock lost', id] : [undefined, undefined, undefined];
        expect([aborted, code, cause, job]).toEqual([attached, ...told]);
        runs[0]!.end();
        await worker.close();
      }
    });

    it('is asked to stop when this worker is handed it again, and the second one does not run meanwhile', async () => {
      const { queue, worker: start } = line;
      const runs: { signal: AbortSignal; end(): void }[] = [];
      // One that does not heed its signal.
      const processor = singletonProcessor(solo, { name: 'x' }, (_job, _token, signal) => {
        return new Promise<void>((end) => runs.push({ signal, end }));
      });
      // Nothing renews BullMQ's lock, as when the event loop stands still.
      const worker = start(processor, { concurrency: 2, lockDuration: 100, skipLockRenewal: true, stalledInterval: 50 });
      attachWorker(worker);
      const { id } = await queue.add('step', {});
      expect(await reaches(queue, id, 'delayed')).toMatchObject({ stalledCounter: 1, attemptsMade: 0 });
      expect(runs).toHaveLength(1);
      expect(runs[0]!.signal.reason).toMatchObject({ reason: 'lock lost' });
      runs[0]!.end();
    });
  });

  describe('a worker that closes', () => {
    it('gives jobs that stop back to the queue, with their locks free and no attempt counted', async () => {
      const { queue, worker: start } = line;
      const { processor, runs } = patient();
      const worker = start(processor);
      attachWorker(worker, { graceMs: 0 });
      const { id } = await queue.add('step', {});
      await until('it runs', () => runs[0]);
      await worker.close();
      expect(runs[0]!.signal.reason).toMatchObject({ reason: 'closing' });
      const waiting = await reaches(queue, id, 'waiting');
      expect([waiting.attemptsMade, waiting.failedReason]).toEqual([0, undefined]);
      await using lease = await solo.tryAcquire('x');
      expect(lease).toBeDefined();
      await lease?.release();

      start(processor);
      const second = await until('another worker runs it', () => runs[1]);
      second.end();
      expect(await reaches(queue, id, 'completed')).toMatchObject({ returnvalue: 'done', attemptsMade: 1 });
    });

    it.each([
      [
        'job and token',
        (processor: SingletonProcessor<unknown, unknown, string>) => (job: Job, token?: string) => processor(job, token),
      ],
      [
        'a job of its own',
        (processor: SingletonProcessor<unknown, unknown, string>) => (job: Job) => processor(Object.create(job) as Job),
      ],
    ])('gives jobs back that a framework runs, which calls with %s alone', async (_, framework) => {
      const { queue, worker: start } = line;
      const { processor, runs } = patient();
      const worker = start(framework(processor));
      attachWorker(worker, { graceMs: 0 });
      const { id } = await queue.add('step', {});
      await until('it runs', () => runs[0]);
      const closed = worker.close();
      // An end to it where nobody is told.
      await Promise.race([until('it was told', () => runs[0]!.signal.aborted || undefined), closed]).finally(() => runs[0]!.end());
      await closed;
      expect(runs[0]!.signal.reason).toMatchObject({ reason: 'closing' });
      expect(await reaches(queue, id, 'waiting')).toMatchObject({ attemptsMade: 0 });
    });

    it('lets jobs go on for graceMs', async () => {
      const { queue, worker: start } = line;
      const { processor, runs } = patient();
      const worker = start(processor);
      attachWorker(worker, { graceMs: 60_000 });
      const { id } = await queue.add('step', {});
      await until('it runs', () => runs[0]);
      const closed = worker.close();
      runs[0]!.end();
      await closed;
      expect(runs[0]!.signal.aborted).toBe(false);
      expect(await reaches(queue, id, 'completed')).toMatchObject({ returnvalue: 'done' });
    });

    it('asks jobs to stop that it does not wait for', async () => {
      const { queue, worker: start } = line;
      const { processor, runs } = patient();
      const worker = start(processor);
      attachWorker(worker);
      await queue.add('step', {});
      await until('it runs', () => runs[0]);
      await worker.close(true);
      expect(runs[0]!.signal.reason).toMatchObject({ reason: 'closing' });
    });
  });

  it('leaves nothing behind when it is detached, and jobs of other workers alone', async () => {
    const { queue, stealLock, worker: start } = line;
    const { processor, runs } = patient();
    const other = stage.queue().worker(null);
    attachWorker(other);
    const worker = start(processor, { lockDuration: 300 });
    const before = worker.eventNames().length;
    attachWorker(worker)();
    expect(worker.eventNames()).toHaveLength(before);
    await queue.add('step', {});
    await until('it runs', () => runs[0]);
    const renewal = new Promise((resolve) => worker.once('lockRenewalFailed', resolve));
    await stealLock(runs[0]!.job);
    await renewal;
    // An id says little: each queue counts from 1.
    other.emit('lockRenewalFailed', [runs[0]!.job.id!]);
    expect(runs[0]!.signal.aborted).toBe(false);
    runs[0]!.end();
  });

  it('refuses a grace that is none', () => {
    const worker = line.worker(null);
    for (const graceMs of [-1, Number.NaN, '5s' as never]) expect(() => attachWorker(worker, { graceMs })).toThrow(/graceMs/);
  });
});
