import fs, { fstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AcquireRequest, AcquireResult, Grant, LockProvider } from '@solorun/core';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { lockfile } from '../src/index.ts';
import { startAtOne } from './places.ts';

/*
 * A mock, because no disk here is slow, and none fails when it should: the test ends each flush itself. (A real process whose flushes
 * take long is in test/lockfile-slow-disk.test.ts.)
 */
interface Flush {
  readonly fd: number;
  end(error?: NodeJS.ErrnoException): void;
}

let directory: string;
let provider: LockProvider;
/** Under way. */
let flushes: Flush[];
let begun: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-flush-'));
  flushes = [];
  begun = 0;
  vi.spyOn(fs, 'fsync').mockImplementation((fd, answer) => {
    begun += 1;
    const flush: Flush = {
      fd,
      end(error) {
        flushes.splice(flushes.indexOf(flush), 1);
        answer(error ?? null);
      },
    };
    flushes.push(flush);
  });
  syncBuiltinESMExports();
  provider = lockfile({ directory });
  startAtOne(directory);
});
afterEach(async () => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  for (const flush of [...flushes]) flush.end();
  await provider.close();
  rmSync(directory, { recursive: true });
});

const occurrence = { at: new Date('2026-01-02T03:00:00Z'), attempts: 1 };

function request(name: string, owner: string): AcquireRequest {
  return { name, owner, leaseMs: 60_000, holder: { host: 'here', pid: process.pid }, occurrence };
}

/** Lets all go on that waits for nothing but others here. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

async function underWay(count: number): Promise<void> {
  await vi.waitFor(() => expect(flushes).toHaveLength(count));
}

/** Ends flushes until the answer is there. */
async function flushed<T>(answer: Promise<T>): Promise<T> {
  const waiting = new AbortController();
  const end = (): void => waiting.abort();
  answer.then(end, end);
  while (!waiting.signal.aborted) {
    flushes[0]?.end();
    await settle();
  }
  return answer;
}

async function claim(name: string, owner = name, signal = new AbortController().signal, by = provider): Promise<AcquireResult> {
  return by.tryAcquire(request(name, owner), signal);
}

async function granted(name: string): Promise<Grant> {
  const result = await flushed(claim(name));
  if (!result.acquired) throw new Error(`refused: ${result.reason}`);
  return result.grant;
}

async function release(grant: Grant, result: 'done' | 'abandoned'): Promise<boolean> {
  return provider.release(grant, { result }, new AbortController().signal);
}

it('leaves a thread of the pool to the program, and grants each occurrence when its own flushes have ended', async () => {
  const order: string[] = [];
  const tries = ['a', 'b', 'c', 'd', 'e'].map(async (name) => {
    const result = await claim(name);
    if (result.acquired) order.push(name);
  });
  await underWay(3);
  // Its file; then its directory and the one above; the others' files are not ended yet.
  flushes[0]!.end();
  await underWay(3);
  flushes.at(-1)!.end();
  await underWay(3);
  flushes.at(-1)!.end();
  await vi.waitFor(() => expect(order).toEqual(['a']));
  await flushed(Promise.all(tries));
  expect(order.sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
});

it('shows others at once that a lock is taken whose flush is under way, so that they need none', async () => {
  const first = claim('job');
  await underWay(1);
  const other = lockfile({ directory });
  expect(await claim('job', 'other', undefined, other)).toMatchObject({
    acquired: false,
    reason: 'held',
  });
  expect(begun).toBe(1);
  expect(await flushed(first)).toMatchObject({ acquired: true });
  await other.close();
});

it('shares a flush of the directory above among all that asked before it began', async () => {
  const tries = Array.from({ length: 10 }, (_, n) => claim(`job-${n}`));
  await flushed(Promise.all(tries));
  // Ten files and ten directories; the one above not ten times.
  expect(begun).toBeGreaterThanOrEqual(21);
  expect(begun).toBeLessThan(30);
});

it('does not begin a flush for a caller that has given up, and takes the claim back without one', async () => {
  const others = ['a', 'b', 'c'].map((name) => claim(name));
  await underWay(3);
  const quit = new AbortController();
  const late = claim('late', 'late', quit.signal);
  await vi.waitFor(async () => expect(await provider.inspect('late')).toMatchObject({ held: true }));
  quit.abort(new Error('too late'));
  await expect(late).rejects.toThrow('too late');
  expect(await provider.inspect('late')).toMatchObject({ held: false, occurrence: undefined });
  expect(flushes).toHaveLength(3);
  const again = claim('late', 'again');
  expect(await flushed(again)).toMatchObject({ acquired: true, grant: { fence: 2n, attempt: 1 } });
  await flushed(Promise.all(others));
});

it('frees a lock at once whose caller gives up while its flush is under way, of a file that stays open for it', async () => {
  const quit = new AbortController();
  const late = claim('job', 'late', quit.signal);
  await underWay(1);
  const { fd } = flushes[0]!;
  const { ino } = fstatSync(fd);
  quit.abort(new Error('too late'));
  await expect(late).rejects.toThrow('too late');
  expect(fstatSync(fd).ino).toBe(ino);
  const again = claim('job', 'again');
  expect(await flushed(again)).toMatchObject({ acquired: true, grant: { fence: 2n, attempt: 1 } });
});

it('abandons a claim without a flush', async () => {
  const grant = await granted('job');
  const before = begun;
  expect(await release(grant, 'abandoned')).toBe(true);
  expect(begun).toBe(before);
  expect(await provider.inspect('job')).toMatchObject({ held: false, occurrence: undefined });
});

it.each([
  ['its file', 0],
  ['its directory', 1],
])('grants nothing when the flush of %s fails, and leaves the claim to the next try', async (_, ended) => {
  const late = claim('job');
  await underWay(1);
  if (ended === 1) {
    flushes[0]!.end();
    await underWay(2);
  }
  flushes[0]!.end(Object.assign(new Error('the disk is broken'), { code: 'EIO' }));
  await expect(late).rejects.toThrow('the disk is broken');
  const again = claim('job', 'again');
  expect(await flushed(again)).toMatchObject({ acquired: true, grant: { fence: 2n, attempt: 1 } });
});

it('answers a release that is asked for again with the one that is under way', async () => {
  const grant = await granted('job');
  const first = release(grant, 'done');
  await underWay(1);
  const second = release(grant, 'done');
  await settle();
  expect(flushes).toHaveLength(1);
  expect(await flushed(Promise.all([first, second]))).toEqual([true, true]);
});

it('flushes a release again whose flush has failed', async () => {
  const grant = await granted('job');
  const first = release(grant, 'done');
  await underWay(1);
  flushes[0]!.end();
  await underWay(1);
  flushes[0]!.end(Object.assign(new Error('the disk is broken'), { code: 'EIO' }));
  await expect(first).rejects.toThrow('the disk is broken');
  const before = begun;
  expect(await flushed(release(grant, 'done'))).toBe(true);
  expect(begun).toBeGreaterThan(before);
});

it('leaves nothing open or half made when it is closed in the middle of flushes', async () => {
  const openFiles = (): number => readdirSync('/proc/self/fd').length;
  const before = openFiles();
  const own = lockfile({ directory });
  const tries = Array.from({ length: 6 }, (_, n) => claim(`job-${n}`, `${n}`, undefined, own));
  await underWay(3);
  await own.close();
  const ended = Promise.allSettled(tries);
  for (const flush of [...flushes]) flush.end();
  expect((await flushed(ended)).map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 'rejected'));
  expect(openFiles()).toBeLessThanOrEqual(before);
  expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
