import { createSolo, type LockProvider, type Solo, type SoloOptions } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import { DelayedError, type Job, type JobsOptions, type Queue } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isSkipped, JobStoppedError, singletonProcessor, type SkippedJob } from '../src/index.ts';
import { writeLine } from '../src/spell.ts';
import { onEachBackend, reaches, until, type Line } from './backends.ts';

let solos: Solo[] = [];
function soloOn(provider: LockProvider, options: Partial<SoloOptions> = {}): Solo {
  const solo = createSolo({ provider, label: 'tester', ...options });
  solos.push(solo);
  return solo;
}
let solo: Solo;
beforeEach(() => {
  solo = soloOn(memory());
});
afterEach(async () => {
  for (const each of solos) await each.close({ graceMs: 5_000 });
  solos = [];
});

/** So long that only `promote()` brings a job back. */
const hour = { minMs: 3_600_000, maxMs: 3_600_000 };

/** The first job of a scheduler, which comes at once; the next one comes when the test is long over. */
async function tick(queue: Queue, opts: JobsOptions = {}): Promise<Job> {
  return queue.upsertJobScheduler('nightly', { every: 86_400_000 }, { name: 'tick', opts });
}

const log = async (queue: Queue, job: Job): Promise<string[]> => (await queue.getJobLogs(job.id!)).logs;

/** A promise, and what resolves it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

onEachBackend('singletonProcessor', (stage) => {
  let line: Line;
  let queue: Queue;
  beforeEach(() => {
    line = stage.queue();
    ({ queue } = line);
  });

  describe('a job whose lock is free', () => {
    it('runs with its token, a signal of the lease and the run, and completes with what the processor returned', async () => {
      let seen: unknown;
      const processor = singletonProcessor(
        solo,
        { name: (job: Job<{ step: string }>) => `etl/${job.data.step}` },
        (job, token, signal, run) => {
          run.checkpoint();
          seen = { token, same: signal === run.signal, fence: run.fence, name: run.name, sure: run.remainingMs() > 0 };
          return { rows: job.data.step.length };
        },
      );
      expect(processor).toHaveLength(3);
      const worker = line.worker(processor);
      const job = await queue.add('step', { step: 'join' });
      expect((await reaches(queue, job.id, 'completed')).returnvalue).toEqual({ rows: 4 });
      expect(seen).toEqual({
        token: expect.stringContaining(worker.id) as string,
        same: true,
        fence: 1n,
        name: 'etl/join',
        sure: true,
      });
      expect(await log(queue, job)).toEqual([]);
    });

    it('never overlaps with another one of that lock, and other locks go on beside it', async () => {
      const names: string[] = [];
      let overlaps = 0;
      let together = 0;
      const running = new Map<string, number>();
      const processor = singletonProcessor(
        solo,
        { name: (job: Job<string>) => job.data, backoff: { minMs: 20, maxMs: 40 } },
        async (job) => {
          names.push(job.data);
          running.set(job.data, (running.get(job.data) ?? 0) + 1);
          if (running.get(job.data)! > 1) overlaps += 1;
          if ([...running.values()].filter((n) => n > 0).length > 1) together += 1;
          await new Promise((next) => setTimeout(next, 5));
          running.set(job.data, running.get(job.data)! - 1);
        },
      );
      const worker = line.worker(processor, { concurrency: 8 });
      let failed = 0;
      worker.on('failed', () => (failed += 1));
      const jobs = await queue.addBulk(Array.from({ length: 12 }, (_, n) => ({ name: 'step', data: ['a', 'b', 'c'][n % 3] })));
      for (const { id } of jobs) expect((await reaches(queue, id, 'completed')).attemptsMade).toBe(1);
      expect({ runs: names.length, overlaps, failed, together: together > 0 }).toEqual({
        runs: 12,
        overlaps: 0,
        failed: 0,
        together: true,
      });
    });

    it('fails with the processor’s own error, and is tried again as its attempts say', async () => {
      const attempts: number[] = [];
      const processor = singletonProcessor(solo, { name: 'x' }, (job) => {
        attempts.push(job.attemptsMade);
        if (job.attemptsMade === 0) throw new Error('disk full');
        return 'second time lucky';
      });
      line.worker(processor);
      const job = await queue.add('step', {}, { attempts: 2 });
      expect((await reaches(queue, job.id, 'completed')).returnvalue).toBe('second time lucky');
      expect(attempts).toEqual([0, 1]);
    });

    it('is not put off for a lock of the processor’s own that is busy, nor kept from deciding for itself', async () => {
      const held = await solo.acquire('other', { waitMs: 0 });
      const processor = singletonProcessor(solo, { name: 'x' }, async (job, token) => {
        if (job.name === 'inner') await solo.run('other', () => {}, { onBusy: 'throw' });
        await job.moveToDelayed(Date.now() + 3_600_000, token);
        throw new DelayedError();
      });
      line.worker(processor);
      const inner = await queue.add('inner', {});
      expect((await reaches(queue, inner.id, 'failed')).failedReason).toContain('"other"');
      const itself = await queue.add('itself', {});
      expect(await reaches(queue, itself.id, 'delayed')).toMatchObject({ attemptsMade: 0 });
      expect(await log(queue, itself)).toEqual([]);
      await held.release();
    });
  });

  describe('a job whose lock is busy', () => {
    it('is put off ten times by the stated backoff, counts no attempt, says who held the lock now and then, and runs', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      const minute = 60_000;
      const backoff = { minMs: minute, maxMs: 100 * minute, jitter: 'none' } as const;
      const worker = line.worker(singletonProcessor(solo, { name: 'x', backoff }, () => 'ran'));
      let failed = 0;
      worker.on('failed', () => (failed += 1));
      const job = await queue.add('step', {});
      const delays: number[] = [];
      for (let round = 1; round <= 10; round += 1) {
        const put = await until(`it was put off ${round} times`, async () => {
          const now = await reaches(queue, job.id, 'delayed');
          return now.attemptsStarted === round ? now : undefined;
        });
        expect(put.attemptsMade).toBe(0);
        // BullMQ counts it from a moment later.
        delays.push(Math.ceil(put.delay / minute));
        if (round === 10) await held.release();
        await put.promote();
      }
      expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 100, 100, 100]);
      expect(await reaches(queue, job.id, 'completed')).toMatchObject({ returnvalue: 'ran', attemptsMade: 1, attemptsStarted: 11 });
      expect(failed).toBe(0);
      const lines = await log(queue, job);
      expect(lines.map((each) => /try (\d+) since/.exec(each)?.[1])).toEqual(['1', '2', '4', '8']);
      expect(lines[0]).toMatch(
        /^"x" is held by tester@.+ \(pid \d+\) since \d{4}-.+: put off by 60000 ms \(try 1 since \d{4}-\S+Z, start 1, failures 0, stalls 0\)$/,
      );
    });

    it('fails after maxTries, whichever workers it was handed to, and says who held the lock', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      const processor = singletonProcessor(solo, { name: 'x', backoff: { ...hour, maxTries: 2 } }, () => 'ran');
      const job = await queue.add('step', {});
      for (const start of [1, 2]) {
        const worker = line.worker(processor);
        const put = await until(`it was put off ${start} times`, async () => {
          const now = await reaches(queue, job.id, 'delayed');
          return now.attemptsStarted === start ? now : undefined;
        });
        await worker.close();
        await put.promote();
      }
      line.worker(processor);
      const failed = await reaches(queue, job.id, 'failed');
      expect(failed.failedReason).toMatch(/^Cannot acquire "x": held by tester@/);
      expect(failed).toMatchObject({ attemptsStarted: 3, attemptsMade: 1 });
      expect((await log(queue, job)).at(-1)).toMatch(/^"x" is held by .+: given up at try 3, \d+ s after it was put off first/);
      // Somebody gives it another chance, and it is a whole one.
      await failed.retry('failed', { resetAttemptsMade: true });
      expect(await reaches(queue, job.id, 'delayed')).toMatchObject({ attemptsMade: 0 });
      await held.release();
    });

    it('fails when it was put off first maxAgeMs ago, and not for being older itself', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      line.worker(singletonProcessor(solo, { name: 'x', backoff: { ...hour, maxAgeMs: 60_000 } }, () => 'ran'));
      const job = await queue.add('step', {}, { timestamp: Date.now() - 2 * 86_400_000 });
      const put = await reaches(queue, job.id, 'delayed');
      expect(put).toMatchObject({ attemptsMade: 0 });
      // What a worker would have written that put it off first.
      const since = Date.now() - 100_000;
      await put.log(`busy${writeLine({ spell: { tries: 1, since, start: 1, failures: 0, stalls: 0 } })}`);
      await put.promote();
      expect((await reaches(queue, job.id, 'failed')).failedReason).toContain('"x"');
      await held.release();
    });

    it('is put off for maxTries in a row, whatever starts of its own came before and in between', async () => {
      const processor = singletonProcessor(solo, { name: 'x', backoff: { ...hour, maxTries: 1 } }, async (job, token) => {
        await job.moveToDelayed(Date.now() + 3_600_000, token);
        throw new DelayedError();
      });
      line.worker(processor);
      const job = await queue.add('steps', {});
      let started = 0;
      const next = async (): Promise<Job> => {
        started += 1;
        return until(`it ended start ${started}`, async () => {
          const now = await reaches(queue, job.id, 'delayed');
          return now.attemptsStarted === started ? now : undefined;
        });
      };
      for (let round = 0; round < 2; round += 1) {
        for (const _ of [1, 2]) await (await next()).promote();
        const put = await next();
        const held = await solo.acquire('x', { waitMs: 10_000 });
        await put.promote();
        const busy = await next();
        expect((await log(queue, job)).at(-1)).toContain('(try 1 since');
        await held.release();
        await busy.promote();
      }
      await next();
      await until('its turn was noted', async () => (await log(queue, job)).at(-1)?.startsWith('It got its turn') || undefined);
    });

    it('is skipped when it is of a job scheduler, and says who held the lock', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      line.worker(singletonProcessor(solo, { name: 'x' }, () => 'ran'));
      const job = await tick(queue);
      const { returnvalue } = await reaches(queue, job.id, 'completed');
      expect(returnvalue).toEqual({
        skipped: true,
        lock: 'x',
        reason: 'held',
        holder: {
          host: expect.any(String) as string,
          pid: process.pid,
          label: 'tester',
          since: expect.stringMatching(/^\d{4}-/) as string,
        },
      } satisfies SkippedJob);
      expect(isSkipped(returnvalue)).toBe(true);
      expect([null, 'ran', { skipped: true }, { skipped: false, lock: 'x', reason: 'held' }].filter(isSkipped)).toEqual([]);
      await held.release();
    });

    it('is not skipped while a provider that has just come back grants nothing: nobody may have run it', async () => {
      const provider = memory();
      let settling = true;
      const settles: LockProvider = {
        ...provider,
        tryAcquire: (request, signal) =>
          settling
            ? Promise.resolve({ acquired: false, reason: 'held', expiresInMs: 10_000, settling })
            : provider.tryAcquire(request, signal),
      };
      line.worker(singletonProcessor(soloOn(settles), { name: 'x', backoff: hour }, () => 'ran'));
      const job = await tick(queue);
      expect(await reaches(queue, job.id, 'delayed')).toMatchObject({ attemptsMade: 0 });
      expect((await log(queue, job))[0]).toMatch(/has just come back.*\(try 1 since/);
      settling = false;
      await (await queue.getJob(job.id!))!.promote();
      expect(await reaches(queue, job.id, 'completed')).toMatchObject({ returnvalue: 'ran' });
    });

    it('is not skipped when it has stalled: who holds the lock may be its own run', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      const job = await tick(queue);
      // A worker that takes the job, and then does nothing at all.
      const dead = line.worker(null, { lockDuration: 50, skipLockRenewal: true });
      expect((await dead.getNextJob('its token', { block: false }))?.id).toBe(job.id);
      await dead.close();
      line.worker(
        singletonProcessor(solo, { name: 'x', backoff: hour }, () => 'ran'),
        { stalledInterval: 60 },
      );
      const put = await reaches(queue, job.id, 'delayed');
      expect(put).toMatchObject({ stalledCounter: 1, attemptsMade: 0 });
      await held.release();
      await put.promote();
      expect((await reaches(queue, job.id, 'completed')).returnvalue).toBe('ran');
    });

    it('is not skipped when it has failed: a failure is not to end as completed', async () => {
      const processor = singletonProcessor(solo, { name: 'x', backoff: hour }, (job) => {
        if (job.attemptsMade === 0) throw new Error('the API was away');
        return 'ran';
      });
      line.worker(processor);
      const job = await tick(queue, { attempts: 2, backoff: { type: 'fixed', delay: 3_600_000 } });
      const delayed = await reaches(queue, job.id, 'delayed');
      const held = await solo.acquire('x', { waitMs: 10_000 });
      await delayed.promote();
      const put = await until('it was put off', async () => {
        const now = await reaches(queue, job.id, 'delayed');
        return now.attemptsStarted === 2 ? now : undefined;
      });
      expect(put).toMatchObject({ attemptsMade: 1 });
      await held.release();
      await put.promote();
      expect((await reaches(queue, job.id, 'completed')).returnvalue).toBe('ran');
    });

    it('waits its turn, or fails when that takes longer than waitMs', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      const began = gate();
      solo.on('busy', () => began.open());
      line.worker(singletonProcessor(solo, { name: 'x', onBusy: 'wait', waitMs: Infinity }, () => 'ran'));
      const job = await queue.add('step', {});
      await began.opened;
      await held.release();
      expect(await reaches(queue, job.id, 'completed')).toMatchObject({ returnvalue: 'ran', attemptsStarted: 1 });

      const again = await solo.acquire('x', { waitMs: 0 });
      const other = stage.queue();
      other.worker(singletonProcessor(solo, { name: 'x', onBusy: 'wait', waitMs: 10 }, () => 'ran'));
      const impatient = await other.queue.add('step', {});
      expect((await reaches(other.queue, impatient.id, 'failed')).failedReason).toMatch(/gave up after \d+ ms/);
      await again.release();
    });

    it('fails at once with onBusy fail, and each failure is an attempt', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      line.worker(singletonProcessor(solo, { name: 'x', onBusy: 'fail' }, () => 'ran'));
      const job = await queue.add('step', {}, { attempts: 2 });
      expect(await reaches(queue, job.id, 'failed')).toMatchObject({ attemptsMade: 2, attemptsStarted: 2 });
      await held.release();
    });

    it('is what a function of the job and the holder decides', async () => {
      const held = await solo.acquire('x', { waitMs: 0 });
      const asked: unknown[] = [];
      const processor = singletonProcessor(
        solo,
        {
          name: 'x',
          backoff: hour,
          waitMs: Infinity,
          onBusy: (job: Job, holder) => {
            asked.push([job.name, holder?.label]);
            return job.name as 'skip';
          },
        },
        () => 'ran',
      );
      line.worker(processor, { concurrency: 5 });
      const add = (name: string): Promise<Job> => queue.add(name, {});
      const [skip, retry, fail, odd] = [await add('skip'), await add('retry'), await add('fail'), await add('odd')];
      expect((await reaches(queue, skip.id, 'completed')).returnvalue).toMatchObject({ skipped: true, reason: 'held' });
      await reaches(queue, retry.id, 'delayed');
      expect((await reaches(queue, fail.id, 'failed')).failedReason).toContain('"x"');
      expect((await reaches(queue, odd.id, 'failed')).failedReason).toContain(`not odd`);
      const wait = await add('wait');
      await until('it was asked about the last one', () => asked.find((each) => (each as string[])[0] === 'wait'));
      await held.release();
      expect((await reaches(queue, wait.id, 'completed')).returnvalue).toBe('ran');
      expect(asked).toContainEqual(['skip', 'tester']);
    });

    it('is told of once when the worker would fail it for being started too often', async () => {
      const warnings: Error[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning);
      process.on('warning', onWarning);
      line.worker(
        singletonProcessor(solo, { name: 'x' }, () => 'ran'),
        { maxStartedAttempts: 3 },
      );
      for (const _ of [1, 2]) await reaches(queue, (await queue.add('step', {})).id, 'completed');
      line.worker(
        singletonProcessor(solo, { name: 'x', onBusy: 'fail' }, () => 'ran'),
        { maxStartedAttempts: 3 },
      );
      await reaches(queue, (await queue.add('step', {})).id, 'completed');
      await until('it was warned of', () => warnings[0]);
      process.off('warning', onWarning);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatchObject({ code: 'SOLORUN_MAX_STARTED_ATTEMPTS' });
    });
  });

  describe('a job whose lock is paused', () => {
    const pause = { by: 'kim@ops', note: 'the disk is being replaced', untilMs: 7_200_000 };

    it('is put off until the pause is over, however often, and says who paused it', async () => {
      await solo.pause('etl', pause);
      const processor = vi.fn<() => string>(() => 'ran');
      line.worker(singletonProcessor(solo, { name: 'etl', backoff: { ...hour, maxTries: 1, maxAgeMs: 1 } }, processor));
      const job = await queue.add('step', {});
      for (const _ of ['once', 'twice']) await (await reaches(queue, job.id, 'delayed')).promote();
      await reaches(queue, job.id, 'delayed');
      expect((await log(queue, job))[0]).toMatch(/^"etl" is paused by "kim@ops" until \S+: put off by \d+ ms/);
      expect(processor).not.toHaveBeenCalled();
      await solo.resume('etl');
      await (await reaches(queue, job.id, 'delayed')).promote();
      const completed = await reaches(queue, job.id, 'completed');
      expect([completed.returnvalue, completed.attemptsMade]).toEqual(['ran', 1]);
    });

    it.each([{ onBusy: 'wait', waitMs: 600_000 } as const, { onBusy: () => 'skip' } as const])(
      'is put off with %o',
      async (policy) => {
        await solo.pause('etl', pause);
        line.worker(singletonProcessor(solo, { name: 'etl', backoff: hour, ...policy }, () => {}));
        const job = await queue.add('step', {});
        await reaches(queue, job.id, 'delayed');
        expect((await log(queue, job))[0]).toContain('is paused by "kim@ops"');
      },
    );

    it('is skipped when it is of a job scheduler', async () => {
      await solo.pause('nightly', pause);
      line.worker(singletonProcessor(solo, { name: 'nightly' }, () => {}));
      const job = await tick(queue);
      const { returnvalue } = (await reaches(queue, job.id, 'completed')) as { returnvalue: unknown };
      expect(returnvalue).toEqual({ skipped: true, lock: 'nightly', reason: 'paused' });
    });

    it('fails with onBusy fail', async () => {
      await solo.pause('etl', pause);
      line.worker(singletonProcessor(solo, { name: 'etl', onBusy: 'fail' }, () => {}));
      const failed = await reaches(queue, (await queue.add('step', {})).id, 'failed');
      expect(failed.failedReason).toContain('"kim@ops" has paused it until');
    });
  });

  describe('a provider that cannot be asked', () => {
    function outage(): { readonly provider: LockProvider; readonly end: () => void } {
      const provider = memory();
      const tryAcquire = provider.tryAcquire.bind(provider);
      const down = vi.spyOn(provider, 'tryAcquire').mockRejectedValue(new Error('connect ECONNREFUSED'));
      return { provider, end: () => void down.mockImplementation(tryAcquire) };
    }

    it.each([{ onBusy: 'skip' } as const, { onBusy: 'wait', waitMs: 600_000 } as const])(
      'has jobs come again with %o, without an attempt being counted, and keeps no slot meanwhile',
      async (busy) => {
        const { provider, end } = outage();
        line.worker(singletonProcessor(soloOn(provider), { name: 'x', ...busy, backoff: hour }, () => 'ran'));
        const job = await queue.add('step', {});
        const put = await reaches(queue, job.id, 'delayed');
        expect(put).toMatchObject({ attemptsMade: 0, attemptsStarted: 1 });
        expect((await log(queue, job))[0]).toContain('connect ECONNREFUSED');
        end();
        await put.promote();
        expect((await reaches(queue, job.id, 'completed')).returnvalue).toBe('ran');
      },
    );

    it('fails the jobs of a job scheduler, whose next one comes anyway, and others if told so', async () => {
      const { provider } = outage();
      const down = soloOn(provider);
      line.worker(singletonProcessor(down, { name: 'x' }, () => 'ran'));
      const job = await tick(queue);
      expect((await reaches(queue, job.id, 'failed')).failedReason).toContain('connect ECONNREFUSED');
      const other = stage.queue();
      other.worker(singletonProcessor(down, { name: 'x', onOutage: 'fail' }, () => 'ran'));
      const told = await other.queue.add('step', {});
      expect((await reaches(other.queue, told.id, 'failed')).failedReason).toContain('connect ECONNREFUSED');
    });
  });

  it('a job whose lease was lost fails, whatever its processor returned', async () => {
    const provider = memory();
    const here = soloOn(provider, { leaseMs: 300 });
    let reason: unknown;
    const processor = singletonProcessor(here, { name: 'x' }, async (_job, _token, signal) => {
      const { owner, fence } = (await here.inspect('x'))!;
      await provider.release({ name: 'x', owner, fence, attempt: 1 }, { result: 'done' }, new AbortController().signal);
      await new Promise((next) => signal.addEventListener('abort', next));
      reason = signal.reason;
      return 'as if nothing had happened';
    });
    line.worker(processor);
    const job = await queue.add('step', {});
    expect((await reaches(queue, job.id, 'failed')).failedReason).toMatch(/^Lost "x" \(fence 1\)/);
    expect(reason).toMatchObject({ code: 'SOLORUN_LEASE_LOST' });
  });

  describe('an occurrence', () => {
    it('is run once, whichever jobs ask for it, and not after a later one', async () => {
      const ran: string[] = [];
      const processor = singletonProcessor(
        solo,
        { name: 'x', occurrence: (job: Job<{ for: string }>) => new Date(job.data.for) },
        (job, _token, _signal, run) => void ran.push(`${job.data.for} ${run.occurrence?.at.getTime()}`),
      );
      line.worker(processor);
      const results: unknown[] = [];
      for (const day of ['2026-01-02', '2026-01-02', '2026-01-01']) {
        const job = await queue.add('step', { for: day });
        results.push((await reaches(queue, job.id, 'completed')).returnvalue);
      }
      expect(results).toEqual([
        null,
        { skipped: true, lock: 'x', reason: 'done' },
        { skipped: true, lock: 'x', reason: 'superseded' },
      ]);
      expect(ran).toEqual([`2026-01-02 ${Date.parse('2026-01-02')}`]);
    });

    it('that lies ahead has its job put off to its instant, and keeps no slot', async () => {
      const provider = memory();
      const asked = vi.spyOn(provider, 'tryAcquire');
      const processor = singletonProcessor(
        soloOn(provider),
        { name: (job: Job<string>) => job.data, occurrence: (job) => new Date(job.data) },
        () => 'ran',
      );
      line.worker(processor, { concurrency: 1 });
      const tomorrow = Date.now() + 86_400_000;
      const ahead = [new Date(tomorrow).toISOString(), '2062-01-01'];
      const jobs = await queue.addBulk(ahead.map((data) => ({ name: 'step', data })));
      const today = await queue.add('step', new Date().toISOString());
      expect((await reaches(queue, today.id, 'completed')).returnvalue).toBe('ran');
      expect(asked).toHaveBeenCalledTimes(1);
      const [first, second] = [await reaches(queue, jobs[0]!.id, 'delayed'), await reaches(queue, jobs[1]!.id, 'delayed')];
      expect(first).toMatchObject({ attemptsMade: 0, attemptsStarted: 1 });
      expect(first.delay).toBeGreaterThan(tomorrow - Date.now() - 1);
      expect(second.delay).toBeGreaterThan(86_400_000);
      expect(await log(queue, first)).toEqual([
        `Its occurrence lies ahead: put off until ${new Date(tomorrow).toISOString()} (the count starts anew)`,
      ]);
    });

    it('that lies ahead by the provider’s clock waits in its slot for a moment, and longer out of it', async () => {
      const provider = memory();
      const early = [20, 60_000, 60_000];
      const ahead: LockProvider = {
        ...provider,
        tryAcquire: (request, signal) => {
          const earlyMs = early.shift();
          if (earlyMs === undefined) return provider.tryAcquire(request, signal);
          return Promise.resolve({ acquired: false, reason: 'early', earlyMs });
        },
      };
      const processor = singletonProcessor(soloOn(ahead), { name: 'x', occurrence: () => new Date(0) }, () => 'ran');
      line.worker(processor);
      const job = await queue.add('step', {});
      const put = await reaches(queue, job.id, 'delayed');
      expect(put.attemptsStarted).toBe(1);
      expect(put.delay).toBeLessThanOrEqual(60_000);
      // A worker whose clock runs ahead takes it to be due.
      await put.promote();
      const again = await until('it was put off once more', async () => {
        const now = await reaches(queue, job.id, 'delayed');
        return now.attemptsStarted === 2 ? now : undefined;
      });
      expect(again.delay).toBeGreaterThan(60_000);
      await again.promote();
      expect((await reaches(queue, job.id, 'completed')).returnvalue).toBe('ran');
    });

    it('whose run failed is not completed when a later one has been claimed meanwhile', async () => {
      const processor = singletonProcessor(
        solo,
        { name: 'x', occurrence: (job: Job<string>) => new Date(job.data), backoff: hour },
        (job) => {
          if (job.name === 'fails') throw new Error('the API was away');
        },
      );
      line.worker(processor);
      const job = await queue.add('fails', '2026-01-01', { attempts: 5, backoff: { type: 'fixed', delay: 3_600_000 } });
      const delayed = await reaches(queue, job.id, 'delayed');
      await reaches(queue, (await queue.add('later', '2026-01-02')).id, 'completed');
      await delayed.promote();
      const failed = await reaches(queue, job.id, 'failed');
      expect(failed.failedReason).toMatch(/^A later occurrence of "x" has been claimed/);
      // Retried by hand; with attempts counted anew, the backend on Postgres keeps nothing of its failures.
      const reset = stage.backend === 'Redis';
      await failed.retry('failed', { resetAttemptsMade: reset, resetAttemptsStarted: true });
      const again = await until('it failed again', async () => {
        const now = await reaches(queue, job.id, 'failed');
        return now.attemptsStarted === 1 ? now : undefined;
      });
      expect(again.failedReason).toMatch(/^A later occurrence/);
    });

    it('is tried as often as BullMQ hands it out, and says so', async () => {
      const seen: unknown[] = [];
      const processor = singletonProcessor(solo, { name: 'x', occurrence: () => new Date(0) }, (_job, _token, _signal, run) => {
        seen.push([run.attempt, run.recovering]);
        if (run.attempt < 3) throw new Error('not yet');
      });
      line.worker(processor);
      const job = await queue.add('step', {}, { attempts: 5 });
      expect((await reaches(queue, job.id, 'completed')).attemptsMade).toBe(3);
      expect(seen).toEqual([
        [1, false],
        [2, true],
        [3, true],
      ]);
    });

    it('with attempts: 1 is at most once: another try fails for good', async () => {
      let runs = 0;
      const processor = singletonProcessor(solo, { name: 'x', occurrence: () => new Date(0), attempts: 1 }, () => {
        runs += 1;
        throw new Error('half-way');
      });
      line.worker(processor);
      const job = await queue.add('step', {}, { attempts: 9 });
      const failed = await reaches(queue, job.id, 'failed');
      expect(failed.failedReason).toMatch(/^All attempts of this occurrence of "x" were started/);
      expect({ runs, made: failed.attemptsMade }).toEqual({ runs: 1, made: 2 });
    });

    it.each([{ every: 86_400_000 }, { pattern: '* * * * * *', limit: 1 }])('is the tick of a scheduler with %o', async (repeat) => {
      const ticks: (number | undefined)[] = [];
      const processor = singletonProcessor(solo, { name: 'x', occurrence: 'scheduled' }, (_job, _token, _signal, run) => {
        ticks.push(run.occurrence?.at.getTime());
      });
      const worker = line.worker(processor);
      const job = await queue.upsertJobScheduler('nightly', repeat, { name: 'tick' });
      const done = await reaches(queue, job.id, 'completed');
      const at = Number(job.id!.split(':').at(-1));
      expect(ticks).toEqual([at]);
      // Somebody runs the same tick again.
      await done.retry('completed');
      const again = await until('it was skipped', async () => {
        const now = await queue.getJob(job.id!);
        return isSkipped(now?.returnvalue) ? now : undefined;
      });
      expect(again.returnvalue).toEqual({ skipped: true, lock: 'x', reason: 'done' });
      // Other jobs of that processor stand in for no tick.
      await reaches(queue, (await queue.add('by hand', {})).id, 'completed');
      expect(ticks).toEqual([at, undefined]);
      await worker.close();
    });
  });

  describe('a job that is asked to stop', () => {
    it('is told by whom', async () => {
      const reasons: unknown[] = [];
      const began = gate();
      const processor = singletonProcessor(solo, { name: 'x' }, async (_job, _token, signal, run) => {
        began.open();
        await new Promise((next) => signal.addEventListener('abort', next));
        reasons.push(signal.reason);
        run.checkpoint();
      });
      const worker = line.worker(processor);
      const job = await queue.add('step', {});
      await began.opened;
      worker.cancelJob(job.id!, 'the customer left');
      expect((await reaches(queue, job.id, 'failed')).failedReason).toBe(`Job ${job.id} was asked to stop: the customer left.`);
      expect(reasons[0]).toBeInstanceOf(JobStoppedError);
      expect(reasons[0]).toMatchObject({
        code: 'SOLORUN_JOB_STOPPED',
        reason: 'cancelled',
        job: job.id,
        cause: 'the customer left',
      });
    });

    it('by the end of the solo goes back to the queue, and none is begun or lost afterwards', async () => {
      const provider = memory();
      const ending = soloOn(provider);
      const began = gate();
      const processor = singletonProcessor(
        ending,
        { name: (job: Job) => job.name, backoff: hour },
        async (_job, _token, signal) => {
          began.open();
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
        },
      );
      line.worker(processor);
      const job = await queue.add('step', {});
      await began.opened;
      await ending.close({ keepProvider: true });
      // The worker goes on all the same, is handed the job again, and can only put it off.
      const put = await reaches(queue, job.id, 'delayed');
      expect(put).toMatchObject({ attemptsMade: 0 });
      const other = await tick(queue);
      await reaches(queue, other.id, 'delayed');
      expect(await queue.getFailedCount()).toBe(0);
    });

    it('after it had failed by itself fails, and is not given back', async () => {
      const provider = memory();
      const [failed, closing] = [gate(), gate()];
      const slow: LockProvider = {
        ...provider,
        async release(...args) {
          failed.open();
          await closing.opened;
          return provider.release(...args);
        },
      };
      const ending = soloOn(slow);
      const processor = singletonProcessor(ending, { name: 'x' }, () => {
        throw new Error('disk full');
      });
      line.worker(processor);
      const job = await queue.add('step', {});
      await failed.opened;
      const closed = ending.close({ keepProvider: true });
      closing.open();
      await closed;
      expect((await reaches(queue, job.id, 'failed')).failedReason).toBe('disk full');
    });

    it('by the end of the solo is not handed out again and again, however old it is and whatever is wrong with it', async () => {
      const ended = soloOn(memory());
      await ended.close();
      const processor = singletonProcessor(
        ended,
        { name: (job: Job) => (job.name === 'nameless' ? '' : 'x'), backoff: hour },
        () => 1,
      );
      line.worker(processor);
      const old = await queue.add('step', {}, { timestamp: Date.now() - 2 * 86_400_000 });
      expect(await reaches(queue, old.id, 'delayed')).toMatchObject({ attemptsMade: 0, attemptsStarted: 1 });
      const nameless = await queue.add('nameless', {});
      expect((await reaches(queue, nameless.id, 'failed')).failedReason).toMatch(/needs a name/);
    });
  });
});

describe('options', () => {
  it.each([
    [{}, /needs a name/],
    [{ name: '' }, /needs a name/],
    [{ name: 'x', onBusy: 'throw' }, /onBusy is/],
    [{ name: 'x', onBusy: 'wait' }, /waitMs/],
    [{ name: 'x', onBusy: () => 'wait', waitMs: -1 }, /waitMs/],
    [{ name: 'x', onOutage: 'skip' }, /onOutage is/],
    [{ name: 'x', occurrence: 'daily' }, /occurrence is/],
    [{ name: 'x', occurrence: new Date() }, /occurrence is/],
    [{ name: 'x', attempts: 2 }, /needs an occurrence/],
    [{ name: 'x', occurrence: 'scheduled', attempts: 0 }, /attempts is/],
    [{ name: 'x', leaseMs: -1 }, /leaseMs/],
    [{ name: 'x', maxRunMs: 0 }, /maxRunMs/],
    [{ name: 'x', backoff: { minMs: 0 } }, /minMs/],
    [{ name: 'x', onbusy: 'skip' }, /no option "onbusy" of singletonProcessor\(\); did you mean onBusy\?/],
    [{ name: 'x', onRun: 'http://monitor' }, /onRun is/],
  ])('%o are refused when the processor is made', (options, message) => {
    expect(() => singletonProcessor(solo, options as never, () => {})).toThrow(message);
  });

  it('refuse a file, and say where to wrap its processor', () => {
    expect(() => singletonProcessor(solo, { name: 'x' }, './processor.js' as never)).toThrow(/call it in that file/);
  });
});
