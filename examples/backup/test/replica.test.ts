import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readJournals } from '../src/journal.js';
import { summarize, type Summary } from '../src/summary.js';
import { makeTree } from '../src/tree.js';

const program = fileURLToPath(new URL('../src/replica.js', import.meta.url));

let directory: string;
let replicas: ChildProcess[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-example-'));
  for (const name of ['data', 'backups', 'journals']) mkdirSync(join(directory, name));
  makeTree(join(directory, 'data'));
  replicas = [];
});
afterEach(() => {
  for (const replica of replicas) replica.kill('SIGKILL');
  rmSync(directory, { recursive: true, maxRetries: 10 });
});

function start(name: string, locks: string): void {
  const options = { store: `file:${join(directory, locks)}`, source: './data', destination: './backups', journals: './journals' };
  const args = Object.entries(options).flatMap(([option, value]) => [`--${option}`, value]);
  // 650 KB at this rate: nearly all of the second until the next tick.
  args.push('--name', name, '--lease-ms', '2000', '--bytes-per-second', '1500000');
  replicas.push(spawn(process.execPath, [program, ...args], { cwd: directory, stdio: 'ignore' }));
}

async function threeTicks(): Promise<Summary> {
  const summary = (): Summary => summarize(readJournals(join(directory, 'journals')), { attempts: 3, intervalMs: 1_000 });
  while (summary().ticks < 4) await sleep(100);
  for (const replica of replicas) replica.kill('SIGTERM');
  await Promise.all(replicas.map((replica) => once(replica, 'exit')));
  return summary();
}

it('backs up each tick once with a lock in common', async () => {
  start('replica-1', 'locks');
  start('replica-2', 'locks');
  const { duplicates, overlaps, done } = await threeTicks();
  expect({ duplicates, overlaps }).toEqual({ duplicates: [], overlaps: [] });
  expect(done).toBeGreaterThanOrEqual(2);
});

it('is found out when the replicas have no lock in common', async () => {
  start('replica-1', 'locks-1');
  start('replica-2', 'locks-2');
  const { duplicates, overlaps } = await threeTicks();
  expect(duplicates.length).toBeGreaterThanOrEqual(2);
  expect(overlaps.length).toBeGreaterThanOrEqual(2);
});
