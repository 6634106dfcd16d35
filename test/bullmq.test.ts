import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isSkipped } from '@solorun/bullmq';
import { expect, it } from 'vitest';
import { lockDirectory, onEachBackend, overlaps, type Fellow } from './bullmq.ts';
import { until } from './postgres.ts';

const processes = (fellow: (label: string) => Fellow, count: number): Fellow[] =>
  Array.from({ length: count }, (_, n) => fellow(`worker-${n + 1}`));

onEachBackend('BullMQ jobs under locks', (stage) => {
  it('of 1,000 over 20 locks on 4 processes none overlaps, fails or counts an attempt too many', { timeout: 120_000 }, async () => {
    const queue = stage.queue();
    const jobs = Array.from({ length: 1_000 }, (_, n) => ({ name: 'step', data: { lock: `lock-${n % 20}`, ms: 2 } }));
    await queue.addBulk(jobs);
    const all = processes(stage.fellow, 4);
    const backoff = { minMs: 20, maxMs: 200 };
    for (const each of all) each.order({ work: queue.name, options: { concurrency: 10 }, solo: { backoff } });
    await until('all jobs have ended', async () => (await queue.getJobCountByTypes('completed', 'failed')) === 1_000, 100_000);

    const runs = all.flatMap(({ runs: ran }) => ran());
    expect(runs).toHaveLength(1_000);
    expect(new Set(runs.map(({ by }) => by)).size).toBe(4);
    expect(overlaps(runs)).toEqual([]);
    // In the order of their runs, the fences of each lock only grow.
    const ordered = runs.toSorted((a, b) => a.from - b.from);
    const last = new Map<string, number>();
    for (const { lock, fence } of ordered) {
      expect(fence).toBeGreaterThan(last.get(lock) ?? 0);
      last.set(lock, fence);
    }
    expect(all.flatMap(({ said }) => said.filter((line) => 'failed' in line))).toEqual([]);
    const ended = await queue.getCompleted(0, -1);
    expect(ended.filter(({ attemptsMade, stalledCounter }) => attemptsMade !== 1 || stalledCounter !== 0)).toEqual([]);
    // They did get into each other's way.
    expect(ended.some(({ attemptsStarted }) => attemptsStarted > 1)).toBe(true);
    for (const each of all) await each.killed();
  });

  const directory = lockDirectory();

  /**
   * Five jobs at a time: one process takes them and stands still, until another one has been handed all of them or, if it does not
   * look at locks, has run them.
   */
  async function stalled(rounds: number, stock: boolean): Promise<{ together: number; told: number }> {
    const [still, other] = [stage.fellow('still'), stage.fellow('other')];
    await Promise.all([still.says('up'), other.says('up')]);
    for (let round = 0; round < rounds; round += 1) {
      const queue = stage.queue();
      const order = {
        work: queue.name,
        stock,
        options: { concurrency: 5, lockDuration: 200, stalledInterval: 100 },
        solo: { backoff: { minMs: 40, maxMs: 80 } },
      };
      still.order(order);
      const wake = fileURLToPath(`${directory().href}/${queue.name}`);
      const locks = Array.from({ length: 5 }, (_, n) => `lock-${round}-${n}`);
      const data = { ms: 30, staller: 'still', together: 5, until: wake };
      await queue.addBulk(locks.map((lock) => ({ name: 'step', data: { lock, ...data } })));
      // Standing still, it says no more.
      await until('it took them', () => still.said.filter((line) => line['inside'] === 5).length === round + 1);
      other.order(order);
      const handed = (lock: string): boolean =>
        stock ? other.runs().some((run) => run.lock === lock) : other.said.some((line) => line['busy'] === lock);
      await until('the other one was handed them', () => locks.every(handed));
      writeFileSync(wake, '');
      await until('all jobs have ended', async () => (await queue.getJobCountByTypes('completed', 'failed')) === 5);
      await until('so have those that stood still', () => still.runs().length >= 5 * (round + 1));
    }
    const found = overlaps([...still.runs(), ...other.runs()]);
    const told = still.runs().filter(({ aborted }) => aborted === 'lock lost').length;
    for (const each of [still, other]) await each.killed();
    return { together: new Set(found.map(([{ lock }]) => lock)).size, told };
  }

  it(
    'a job that stalled and was handed to a second worker never runs twice at once, in 20 rounds',
    { timeout: 60_000 },
    async () => {
      expect(await stalled(4, false)).toEqual({ together: 0, told: 20 });
    },
  );

  it('while on a stock worker it does', { timeout: 60_000 }, async () => {
    expect(await stalled(1, true)).toMatchObject({ together: 5 });
  });

  it(
    'of a scheduler that fires each second, with 3 s of work and 10 slots, none overlaps, and none piles up',
    { timeout: 60_000 },
    async () => {
      const queue = stage.queue();
      const all = processes(stage.fellow, 2);
      for (const each of all) each.order({ work: queue.name, options: { concurrency: 5 } });
      await queue.upsertJobScheduler('each-second', { every: 1_000 }, { name: 'tick', data: { lock: 'tick', ms: 3_000 } });
      let delayed = 0;
      let waiting = 0;
      await until('8 ticks have ended', async () => {
        const counts = await queue.getJobCounts('delayed', 'waiting', 'prioritized', 'completed', 'failed');
        delayed = Math.max(delayed, counts['delayed'] ?? 0);
        waiting = Math.max(waiting, (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0));
        return (counts['completed'] ?? 0) + (counts['failed'] ?? 0) >= 8;
      });
      // The next tick is there before it is due, and for a moment while it is being fetched.
      expect(delayed).toBe(1);
      expect(waiting).toBeLessThanOrEqual(1);
      const runs = all.flatMap(({ runs: ran }) => ran());
      expect(overlaps(runs)).toEqual([]);
      expect(runs.length).toBeGreaterThanOrEqual(2);
      const ended = await queue.getJobs(['completed', 'failed']);
      const skipped = ended.map(({ returnvalue }) => returnvalue as unknown).filter(isSkipped);
      expect(skipped.length).toBeGreaterThanOrEqual(4);
      expect(new Set(skipped.map(({ reason }) => reason))).toEqual(new Set(['held']));
      // One that comes while the holder is just going is not told of it.
      const holders = new Set(skipped.flatMap(({ holder }) => holder?.label ?? []));
      expect(['worker-1', 'worker-2'].filter((label) => holders.has(label))).toEqual([...holders].sort());
      expect(holders.size).toBeGreaterThanOrEqual(1);
      expect(await queue.getFailedCount()).toBe(0);
      for (const each of all) await each.killed();
    },
  );
});
