import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backup, published, verify } from '../src/backup.js';

let directory: string;
let source: string;
let destination: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-example-'));
  source = join(directory, 'data');
  destination = join(directory, 'backups');
  mkdirSync(join(source, 'deep'), { recursive: true });
  mkdirSync(destination);
  writeFileSync(join(source, 'one.txt'), 'one');
  writeFileSync(join(source, 'deep', 'two.txt'), 'two');
});
afterEach(() => rmSync(directory, { recursive: true }));

const second = (n: number): Date => new Date(Date.UTC(2025, 0, 31, 3, 0, n));

function make(
  n: number,
  options: { fence?: number; checkpoint?: () => void; onStep?: (step: string) => void; keep?: number } = {},
) {
  const { fence = n, checkpoint = () => {}, onStep = () => {}, keep = 5 } = options;
  const { signal } = new AbortController();
  return backup({ date: second(n), fence: BigInt(fence), signal, checkpoint }, { source, destination, onStep, keep });
}

it('publishes an archive whose checksum stands beside it, under the name of its tick', async () => {
  const made = await make(1);
  expect(made).toMatchObject({ name: '20250131T030001Z', files: 2 });
  const directoryOfIt = join(destination, '20250131T030001Z');
  expect(await verify(directoryOfIt)).toEqual({ files: 2, sha256: made?.sha256 });
  expect(readFileSync(join(directoryOfIt, 'files.tar.gz.sha256'), 'utf8')).toBe(`${made?.sha256}  files.tar.gz\n`);
  expect(readdirSync(destination)).toEqual(['20250131T030001Z']);
});

it('keeps the newest and removes the rest', async () => {
  for (const n of [1, 2, 3, 4]) await make(n, { keep: 2 });
  expect(published(destination)).toEqual(['20250131T030003Z', '20250131T030004Z']);
});

it('leaves a tick alone that has been published', async () => {
  const made = await make(1);
  expect(await make(1, { fence: 2 })).toBeUndefined();
  expect(await verify(join(destination, '20250131T030001Z'))).toMatchObject({ sha256: made?.sha256 });
});

it('takes no further step once the lease is lost', async () => {
  const steps: string[] = [];
  const lost = new Error('lost');
  const checkpoint = () => {
    if (steps.includes('verify')) throw lost;
  };
  await expect(make(1, { checkpoint, onStep: (step) => steps.push(step) })).rejects.toBe(lost);
  expect(steps).not.toContain('publish');
  expect(published(destination)).toEqual([]);
});

it('cannot publish what an older holder made, once a newer one has begun, even between its checkpoint and its last step', async () => {
  let newer: ReturnType<typeof make> | undefined;
  const older = make(1, {
    fence: 1,
    onStep: (step) => {
      if (step === 'publish') newer = make(1, { fence: 2 });
    },
  });
  await expect(older).rejects.toMatchObject({ code: 'ENOENT' });
  const made = await newer;
  expect(await verify(join(destination, '20250131T030001Z'))).toMatchObject({ sha256: made?.sha256 });
  expect(readdirSync(destination)).toEqual(['20250131T030001Z']);
});
