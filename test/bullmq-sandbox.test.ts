import { fileURLToPath } from 'node:url';
import { attachWorker } from '@solorun/bullmq';
import { createSolo, type Solo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import type { Job, Queue, Worker } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory, onEachBackend } from './bullmq.ts';
import { until } from './postgres.ts';

const file = fileURLToPath(new URL('programs/bullmq-sandbox.js', import.meta.url));

onEachBackend('a sandboxed processor', (stage) => {
  const directory = lockDirectory();
  let solo: Solo;
  let queue: Queue;
  beforeEach(() => {
    solo = createSolo({ provider: lockfile({ directory: fileURLToPath(directory()) }), label: 'tester' });
    queue = stage.queue();
  });
  afterEach(() => solo.close());

  async function reaches({ id }: Job, state: string): Promise<Job> {
    await until(`job ${id} is ${state}`, async () => (await queue.getJobState(id!)) === state);
    return (await queue.getJob(id!))!;
  }

  describe.each([{ useWorkerThreads: false }, { useWorkerThreads: true }])('with %o', ({ useWorkerThreads }) => {
    const env = (): NodeJS.ProcessEnv => ({ ...process.env, LOCKS: fileURLToPath(directory()) });
    const start = (): Worker =>
      stage.worker(queue, file, {
        useWorkerThreads,
        lockDuration: 1_000,
        ...(useWorkerThreads ? { workerThreadsOptions: { env: env() } } : { workerForkOptions: { env: env() } }),
      });

    it('runs, puts off and says who held the lock, as one in this process does', async () => {
      start();
      const lock = `busy-${useWorkerThreads}`;
      const held = await solo.acquire(lock, { waitMs: 0 });
      const job = await queue.add('run', { lock });
      const put = await reaches(job, 'delayed');
      expect(put).toMatchObject({ attemptsMade: 0, attemptsStarted: 1 });
      expect(put.delay).toBeGreaterThan(1_000_000);
      // A sandboxed processor is not answered when its line is kept: on Postgres it may be there a moment after the job is put off.
      await until('the line is kept', async () => (await queue.getJobLogs(job.id!)).count > 0);
      const { logs } = await queue.getJobLogs(job.id!);
      expect(logs).toEqual([expect.stringMatching(`^"${lock}" is held by tester@.+: put off by \\d+ ms \\(try 1 since `)]);
      await held.release();
      await put.promote();
      const done = await reaches(job, 'completed');
      expect(done).toMatchObject({ attemptsMade: 1, returnvalue: { fence: String(held.fence + 1n) } });
      expect((done.returnvalue as { pid: number }).pid === process.pid).toBe(useWorkerThreads);
    });

    it('counts how often it was put off, and no other starts, and then fails', async () => {
      start();
      const lock = `counted-${useWorkerThreads}`;
      const job = await queue.add('steps', { lock });
      const atStart = async (started: number): Promise<Job> => {
        await until(`start ${started} has ended`, async () => {
          const now = await queue.getJob(job.id!);
          return now?.attemptsStarted === started && (await now.isDelayed());
        });
        return (await queue.getJob(job.id!))!;
      };
      await (await atStart(1)).promote();
      const stepped = await atStart(2);
      const held = await solo.acquire(lock, { waitMs: 10_000 });
      await stepped.promote();
      for (const started of [3, 4]) await (await atStart(started)).promote();
      expect((await reaches(job, 'failed')).failedReason).toContain('held by tester');
      await held.release();
    });

    it('keeps what its error carries', async () => {
      const worker = start();
      const failed = new Promise<Error>((resolve) => worker.once('failed', (_job, error) => resolve(error)));
      await queue.add('carry', { lock: `carry-${useWorkerThreads}` });
      expect(await failed).toMatchObject({
        message: 'away',
        name: 'Error',
        fence: expect.stringMatching(/^\d+$/) as string,
        response: { status: 503, self: '[Circular]' },
        cause: { name: 'TypeError', message: 'why' },
      });
    });

    it('is told why it is cancelled', async () => {
      const worker = start();
      const failed = new Promise<Error>((resolve) => worker.once('failed', (_job, error) => resolve(error)));
      const job = await queue.add('stop', { lock: `cancelled-${useWorkerThreads}` });
      await new Promise((resolve) => worker.once('progress', resolve));
      worker.cancelJob(job.id!, 'the customer left');
      expect(await failed).toMatchObject({ name: 'JobStoppedError', reason: 'cancelled', cause: 'the customer left' });
    });

    it('fails a job whose lease was lost, and says so', async () => {
      start();
      const job = await queue.add('lose', { lock: `lost-${useWorkerThreads}` });
      expect((await reaches(job, 'failed')).failedReason).toMatch(/^Lost "lost-.+ \(fence \d+\)/);
    });

    it('gives its job back when its worker closes', async () => {
      const worker = start();
      attachWorker(worker, { graceMs: 0 });
      const job = await queue.add('stop', { lock: `closed-${useWorkerThreads}` });
      await new Promise((resolve) => worker.once('progress', resolve));
      await worker.close();
      const waiting = await reaches(job, 'waiting');
      expect([waiting.attemptsMade, waiting.failedReason]).toEqual([0, undefined]);
      expect((await solo.inspect(`closed-${useWorkerThreads}`))?.held).toBe(false);
    });

    it('is told that the lock of its job is lost', async () => {
      const worker = start();
      attachWorker(worker);
      const job = await queue.add('stop', { lock: `stolen-${useWorkerThreads}` });
      await new Promise((resolve) => worker.once('progress', resolve));
      const errors: string[] = [];
      worker.on('failed', (_job, error) => errors.push(error.message));
      worker.emit('lockRenewalFailed', [job.id!]);
      expect((await reaches(job, 'failed')).failedReason).toContain(`no longer holds BullMQ's lock`);
    });
  });
});
