// @ts-check
// Three workers and the pipelines of three days, each queued twice. One worker is blocked past BullMQ's lock on its job, one is killed
// and one is blocked past the lease of its lock, each in the middle of a step.

import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, exactly } from '@solorun/example-postgres/demo/verdict';
import { Queue } from 'bullmq';
import { QUEUE, serverAt } from '../queue.js';
import { makeFiles, openShop } from './shop.js';

/** @import { Stage, Actor } from '@solorun/example-postgres/demo/stage' */
/** @import { Count } from '@solorun/example-postgres/demo/verdict' */

const worker = new URL('../worker.js', import.meta.url);
const enqueue = new URL('../enqueue.js', import.meta.url);
const block = new URL('block.js', import.meta.url);

const DAYS = ['2026-11-01', '2026-11-02', '2026-11-03'];
const [STALLS, KILLED, LATE] = /** @type {[string, string, string]} */ (DAYS);
const FILES = ['extract', 'clean', 'join', 'aggregate'];
const STEPS = [...FILES, 'load'];
const TIMES = 2;

/**
 * @param {Stage} stage
 * @param {object} where
 * @param {string} where.directory An empty one, for the files.
 * @param {string} where.queueUrl The server of the queue and of the locks.
 * @returns {Promise<Count[]>}
 */
export async function play({ ask, holdUp, start, tell, until }, { directory, queueUrl }) {
  // Nothing here refuses a second load: it would be counted, and double the revenue.
  await ask('CREATE TABLE revenue (day date NOT NULL, country text NOT NULL, cents bigint NOT NULL, fence bigint NOT NULL)');
  await ask('CREATE TABLE loading (day date PRIMARY KEY, fence bigint NOT NULL, loaded boolean NOT NULL DEFAULT false)');
  const totals = makeFiles(directory, DAYS);
  const shop = await openShop(directory);
  const env = { QUEUE_URL: queueUrl, ETL_DIRECTORY: directory, SHOP_URL: shop.url };
  const blocked = (/** @type {string} */ name) => join(directory, `${name}.blocked`);
  const { connection, backend } = serverAt(queueUrl);
  const queue = new Queue(QUEUE, { connection }, backend);
  const startWorker = (/** @type {string} */ name) =>
    start(name, worker, { env: { ...env, NODE_OPTIONS: `--import=${block.href}`, BLOCKED: blocked(name) } });

  /** Who runs a step now, or began it last. @param {string} step @param {string} day */
  const runnerOf = (step, day) => (/** @type {readonly Actor[]} */ workers) => {
    const runs = workers.flatMap((each) => fencesOf(each, step, day).map((fence) => ({ each, fence })));
    return runs.length === 0 ? undefined : runs.reduce((one, other) => (other.fence > one.fence ? other : one)).each;
  };

  /** @param {Actor} actor @returns what ends it. */
  const blockLoop = async (actor) => {
    actor.signal('SIGUSR2');
    await until(`${actor.name} is blocked`, () => existsSync(blocked(actor.name)));
    return () => rmSync(blocked(actor.name));
  };

  try {
    let workers = ['worker-1', 'worker-2', 'worker-3'].map(startWorker);
    await Promise.all(workers.map((each) => each.says(/^ready/)));
    for (const day of [STALLS, KILLED]) shop.holdUp(day);
    const table = await holdUp('LOCK TABLE revenue IN SHARE MODE');

    tell(`The pipelines of ${DAYS.length} days are queued, each of them ${TIMES} times.`);
    const hosts = Array.from({ length: TIMES }, (_, host) => start(`host-${host + 1}`, enqueue, { args: DAYS, env }));
    await Promise.all(hosts.map((host) => host.ended));

    const stalled = await until(
      'a worker downloads the first day',
      () => shop.waiting(STALLS) > 0 && runnerOf('extract', STALLS)(workers),
    );
    const goOn = await blockLoop(stalled);
    tell(
      `◼ The event loop of ${stalled.name} is blocked in the middle of a download, for longer than BullMQ's lock on its job (2 s).`,
    );
    const job = await until('BullMQ hands the job to another worker, which puts it off', async () => {
      const delayed = await queue.getDelayed();
      return delayed.find(({ name, data, stalledCounter }) => name === 'extract' && data.day === STALLS && stalledCounter > 0);
    });
    tell(`BullMQ has handed job ${job.id} to another worker. Its log: ${(await queue.getJobLogs(job.id ?? '')).logs.at(-1)}`);
    tell(`${stalled.name} goes on, and learns it.`);
    goOn();
    await stalled.says(new RegExp(`^extract of ${STALLS} under fence \\d+ stops`));
    shop.release(STALLS);

    const killed = await until(
      'a worker downloads the second day',
      () => shop.waiting(KILLED) > 0 && runnerOf('extract', KILLED)(workers),
    );
    tell(`✗ ${killed.name} is killed in the middle of a download (SIGKILL).`);
    await killed.kill();
    workers = workers.filter((each) => each !== killed);
    shop.release(KILLED);

    const late = await until('a worker loads the third day', async () => {
      const runner = runnerOf('load', LATE)(workers);
      return runner !== undefined && (await table.blocked()).includes(runner.name) && runner;
    });
    const goOnLate = await blockLoop(late);
    tell(`◼ ${late.name} is blocked in the middle of its load, for longer than its lease (8 s).`);
    await table.release();
    const others = workers.filter((each) => each !== late);
    const heir = await until('another worker loads the same day', () => runnerOf('load', LATE)(others));
    await heir.says(new RegExp(`^load of ${LATE} is done`));
    tell(`${late.name} goes on, with the transaction of its load still open.`);
    goOnLate();
    await late.says(new RegExp(`^load of ${LATE} under fence \\d+ stops`));

    await until('every job has ended', async () => {
      const left = await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'waiting-children');
      return left === 0;
    });
    await Promise.all(workers.map((each) => each.stop()));

    const jobs = await queue.getJobs(['completed', 'failed']);
    const skipped = jobs.filter(({ returnvalue }) => returnvalue?.skipped === true);
    const files = DAYS.flatMap((day) =>
      readdirSync(join(directory, day)).map((name) => `${day}/${name.split('.')[0]} ${name.endsWith('.csv')}`),
    );
    const wanted = new Set(DAYS.flatMap((day) => FILES.map((step) => `${day}/${step} true`)));
    const loads = await ask('SELECT DISTINCT day, fence FROM revenue');
    const [sum] = await ask('SELECT coalesce(sum(cents), 0) AS cents FROM revenue');
    const due = [...totals.values()].reduce((one, other) => one + other, 0);
    return [
      exactly(
        'jobs completed',
        jobs.filter(({ finishedOn, failedReason }) => finishedOn && !failedReason).length,
        DAYS.length * STEPS.length * TIMES,
      ),
      // One more for each job whose worker ran it, and was too late to tell BullMQ so.
      atLeast('of them skipped, as the step was done', skipped.length, DAYS.length * STEPS.length * (TIMES - 1)),
      exactly('jobs failed', (await queue.getJobCounts('failed'))['failed'] ?? 0, 0),
      exactly('attempts beyond the first', jobs.filter(({ attemptsMade }) => attemptsMade > 1).length, 0),
      atLeast('jobs that were handed to a second worker', jobs.filter(({ stalledCounter }) => stalledCounter > 0).length, 3),
      exactly('files published', files.filter((file) => wanted.has(file)).length, wanted.size),
      exactly(
        'of them a second time, or left unfinished',
        files.length - new Set(files.filter((file) => wanted.has(file))).size,
        0,
      ),
      exactly('days loaded', new Set(loads.map(({ day }) => String(day))).size, DAYS.length),
      exactly('of them a second time', loads.length - new Set(loads.map(({ day }) => String(day))).size, 0),
      exactly('cents of revenue too many or too few', Math.abs(Number(sum?.['cents']) - due), 0),
    ];
  } finally {
    await queue.close();
    shop.close();
  }
}

/** Under which fences a worker began that step. @param {Actor} actor @param {string} step @param {string} day */
function fencesOf({ lines }, step, day) {
  return lines.flatMap((line) => {
    const [, fence] = new RegExp(`^${step} of ${day} begins under fence (\\d+)`).exec(line) ?? [];
    return fence === undefined ? [] : [BigInt(fence)];
  });
}
