import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fenceLog } from './fence-log.ts';
import { killAll, start, type JsonProcess } from './json-process.ts';
import { program } from './stories.ts';

let directory: string;
const log = fenceLog();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-forgotten-'));
});
afterEach(() => {
  killAll();
  rmSync(directory, { recursive: true, force: true });
});

/** Runs between two deaths. */
const RUNS = 40;
const DEATHS = 12;

it(
  'gives greater fences for ever while processes acquire a lock, forget it, and are killed at both',
  { timeout: 300_000 },
  async () => {
    const store = pathToFileURL(directory).href;
    const worker = (): JsonProcess => log.startWorkers(1, store, '1000000', '2000')[0]!;
    const forgetter = (): JsonProcess => start(program('forget'), [store, 'fences']);
    const workers = [worker(), worker(), worker()];
    const forgetters = [forgetter(), forgetter()];
    const times: number[] = [];
    const timesOf = ({ said }: JsonProcess): number => said.filter((line) => 'forgotten' in line).length;
    const grows = (): Promise<void> => {
      const before = log.written().length;
      return vi.waitFor(() => expect(log.written().length).toBeGreaterThan(before + RUNS), { timeout: 60_000, interval: 20 });
    };
    for (let n = 0; n < DEATHS; n += 1) {
      await grows();
      const [fleet, replacement] = n % 2 === 0 ? [workers, worker] : [forgetters, forgetter];
      const victim = fleet.shift()!;
      await victim.killed();
      if (fleet === forgetters) times.push(timesOf(victim));
      fleet.push(replacement());
    }
    await grows();
    for (const each of [...workers, ...forgetters]) each.kill('SIGTERM');
    await Promise.all([...workers, ...forgetters].map(({ ended }) => ended));
    log.expectToGrow();
    const forgotten = [...times, ...forgetters.map(timesOf)].reduce((sum, each) => sum + each, 0);
    expect(forgotten).toBeGreaterThan(DEATHS);
    // The last row, what the dead have left of it, and the floor.
    expect(readdirSync(directory, { recursive: true, encoding: 'utf8' }).length).toBeLessThan(12);
  },
);
