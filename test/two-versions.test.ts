import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createSolo } from '@solorun/core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start, type JsonProcess } from './json-process.ts';
import { openStore } from './programs/store.js';
import { program } from './stories.ts';

const root = join(import.meta.dirname, '..');
/** Within ours, so that what the packages need beside each other is found there. */
let home: string;

beforeAll(() => {
  home = mkdtempSync(join(root, 'node_modules', '.solorun-before-'));
  for (const name of ['core', 'lockfile', 'postgres', 'redis']) {
    const place = join(home, 'node_modules', '@solorun', name);
    mkdirSync(place, { recursive: true });
    execFileSync('tar', ['-xzf', join(import.meta.dirname, 'versions/before', `${name}.tgz`), '-C', place, '--strip-components=1']);
  }
  for (const name of ['two-versions', 'store', 'say']) {
    copyFileSync(join(import.meta.dirname, 'programs', `${name}.js`), join(home, `${name}.js`));
  }
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface Ran {
  readonly fence: bigint;
  readonly slot: number;
  readonly began: number;
  readonly ended: number;
}

/** In the order of their fences. */
function ranBy(replicas: readonly JsonProcess[], name: string): readonly Ran[] {
  const lines = replicas.flatMap(({ said }) => said.filter(({ ran }) => ran === name));
  const runs = lines.map((line) => ({
    fence: BigInt(String(line['fence'])),
    slot: Number(line['slot']),
    began: Number(line['began']),
    ended: Number(line['ended']),
  }));
  return runs.sort((a, b) => (a.fence < b.fence ? -1 : 1));
}

/** Resolves when a replica has run so many more jobs of each kind than by now. */
async function goesOn(replicas: readonly JsonProcess[], more = 5): Promise<void> {
  const counts = (): number[] => ['ticks', 'plain'].map((name) => ranBy(replicas, name).length);
  const before = counts();
  await vi.waitUntil(() => counts().every((count, which) => count >= before[which]! + more), { timeout: 90_000 });
}

async function expectBothVersionsToShare(store: string): Promise<void> {
  const old = (label: string): JsonProcess => start(pathToFileURL(join(home, 'two-versions.js')), [store, label]);
  const fresh = (label: string): JsonProcess => start(program('two-versions'), [store, label]);
  const before = [old('old 1'), old('old 2')];
  await goesOn(before);
  const after = [fresh('new 1')];
  await goesOn(after);
  await goesOn(before);
  // One deployment, in which some are killed.
  await before[0]!.killed();
  after.push(fresh('new 2'));
  await goesOn(after);
  await goesOn([before[1]!]);
  await after[0]!.killed();
  await goesOn([before[1]!]);
  await goesOn([after[1]!]);
  for (const replica of [before[1]!, after[1]!]) {
    replica.kill('SIGTERM');
    expect(await replica.ended).toBe(0);
    expect(replica.said).toContainEqual(expect.objectContaining({ records: ['plain', 'ticks'] }));
  }

  const replicas = [...before, ...after];
  for (const name of ['ticks', 'plain']) {
    const runs = ranBy(replicas, name);
    const fences = runs.map(({ fence }) => fence);
    expect(new Set(fences).size, `fences of "${name}"`).toBe(fences.length);
    for (const [n, run] of runs.slice(1).entries())
      expect(run.began, `${name} ${run.fence}`).toBeGreaterThanOrEqual(runs[n]!.ended);
  }
  const slots = ranBy(replicas, 'ticks').map(({ slot }) => Number(slot));
  expect(slots).toEqual([...new Set(slots)].toSorted((a, b) => a - b));
  await expectTheNewOneToKnow(store);
}

/** What this version keeps beside it is there, for runs of its own. */
async function expectTheNewOneToKnow(store: string): Promise<void> {
  const solo = createSolo({ provider: await openStore(store) });
  try {
    await solo.run('ticks', () => {}, { occurrence: new Date() });
    const [run] = await solo.runs('ticks');
    expect(run).toMatchObject({ outcome: 'done', attempt: 1 });
    expect(await solo.inspect('ticks')).toMatchObject({ lastOutcome: 'done', held: false });
    await solo.pause('ticks');
    expect(await solo.run('ticks', () => {})).toMatchObject({ status: 'skipped', reason: 'paused' });
    expect(await solo.resume('ticks')).toBe(true);
    expect(await solo.prune({ olderThanMs: 0 })).toBe(2);
  } finally {
    await solo.close();
  }
}

onEveryStore(
  (store) => {
    it('a fleet of this version and the one before it shares the store', { timeout: 180_000 }, () =>
      expectBothVersionsToShare(store()),
    );
  },
  { concurrent: true },
);
