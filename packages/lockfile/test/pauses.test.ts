import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AcquireRequest, AcquireResult, LockProvider, NamedPause } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockfile, type FileStore } from '../src/index.ts';
import { localStore } from '../src/stores/local.ts';
import { filesBelow, lockPath } from './places.ts';

const HOUR_MS = 3_600_000;
const never = new AbortController().signal;

let base: string;
let directory: string;
const opened: LockProvider[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'solorun-pauses-'));
  directory = join(base, 'locks');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(opened.splice(0).map((provider) => provider.close()));
  rmSync(base, { recursive: true });
});

function open(wrap: (store: FileStore) => Partial<FileStore> = () => ({})): LockProvider {
  const store = localStore({ directory, own: true, kernelLocks: true, allowNetworkFileSystem: false });
  const provider = lockfile({ store: { ...store, ...wrap(store) } });
  opened.push(provider);
  return provider;
}

async function attempt(provider: LockProvider, more: Partial<AcquireRequest> = {}): Promise<AcquireResult> {
  const request = { name: 'job', owner: `${Math.random()}`, leaseMs: 60_000, holder: { host: 'here', pid: process.pid }, ...more };
  return provider.tryAcquire(request, never);
}

async function run(provider: LockProvider): Promise<void> {
  const result = await attempt(provider);
  if (!result.acquired) throw new Error(`refused: ${result.reason}`);
  await provider.release(result.grant, { result: 'done' }, never);
}

async function pausesOf(provider: LockProvider): Promise<readonly NamedPause[]> {
  const found: NamedPause[] = [];
  for await (const each of provider.pauses()) found.push(each);
  return found;
}

const pauseFiles = (): string[] => filesBelow(directory).filter((name) => name.endsWith('.paused'));
const lockFiles = (): string[] => filesBelow(directory).filter((name) => name.endsWith('.lock'));

describe('a pause', () => {
  it('is a file that people can read, beside the files of the lock', async () => {
    const provider = open();
    await run(provider);
    await provider.pause('job', { forMs: HOUR_MS, by: 'kim@ops', note: 'the disk is being replaced' }, never);
    const [file] = pauseFiles();
    expect(file).toMatch(/^job\.[0-9]+\.paused$/);
    const said = JSON.parse(readFileSync(lockPath(directory, file!), 'utf8')) as object;
    expect(said).toMatchObject({ name: 'job', by: 'kim@ops', note: 'the disk is being replaced' });
  });

  it('stops an acquisition that was under way before the pause was asked for, and costs it no more than a number', async () => {
    const operator = open();
    let isPaused = false;
    const provider = open((store) => ({
      async createExclusive(...args) {
        if (!isPaused) {
          isPaused = true;
          await operator.pause('job', { forMs: HOUR_MS, by: 'kim@ops' }, never);
        }
        return store.createExclusive(...args);
      },
    }));
    expect(await attempt(provider)).toMatchObject({ acquired: false, reason: 'paused', by: 'kim@ops' });
    await operator.resume('job', never);
    await run(provider);
  });

  it('that is extended keeps the file before it, for a listing that the new one overtakes', async () => {
    const provider = open();
    for (const forMs of [HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS]) await provider.pause('job', { forMs, by: 'kim@ops' }, never);
    expect(pauseFiles()).toHaveLength(2);
    expect(await provider.resume('job', never)).toBe(true);
    expect(pauseFiles()).toEqual([]);
  });

  it('stops a process that remembers the lock as free', async () => {
    const provider = open();
    for (let n = 0; n < 3; n += 1) await run(provider);
    await open().pause('job', { forMs: HOUR_MS, by: 'kim@ops' }, never);
    expect(await attempt(provider)).toMatchObject({ acquired: false, reason: 'paused' });
    expect(await attempt(provider)).toMatchObject({ acquired: false, reason: 'paused' });
  });

  it('that is over costs one acquisition a look, and is gone then', async () => {
    const provider = open();
    await run(provider);
    const reads: string[] = [];
    const reader = open((store) => ({ read: (key) => (reads.push(key), store.read(key)) }));
    await run(reader);
    await provider.pause('job', { until: new Date(Date.now() - HOUR_MS), by: 'kim@ops' }, never);
    await run(reader);
    expect(reads.filter((key) => key.endsWith('.paused'))).toHaveLength(1);
    expect(pauseFiles()).toEqual([]);
    reads.length = 0;
    await run(reader);
    expect(reads.filter((key) => key.endsWith('.paused'))).toEqual([]);
  });

  it('is not undone by a process that removes an earlier one late', async () => {
    const provider = open();
    await run(provider);
    await provider.pause('job', { until: new Date(Date.now() - HOUR_MS), by: 'kim@ops' }, never);
    // What it wants to remove is over. While it is paused, an operator pauses the lock again.
    let isRenewed = false;
    const slow = open((store) => ({
      async remove(key) {
        if (!isRenewed && key.endsWith('.paused')) {
          isRenewed = true;
          await provider.pause('job', { forMs: HOUR_MS, by: 'lee@ops' }, never);
        }
        return store.remove(key);
      },
    }));
    expect(await attempt(slow)).toMatchObject({ acquired: false, reason: 'paused', by: 'lee@ops' });
    expect(isRenewed).toBe(true);
    expect(await pausesOf(provider)).toMatchObject([{ name: 'job', by: 'lee@ops' }]);
  });

  it('counts alone, also if the one before it stayed because its process was killed', async () => {
    const killed = open(() => ({
      remove: () => Promise.reject(new Error('killed')),
    }));
    await killed.pause('job', { forMs: 10 * HOUR_MS, by: 'kim@ops' }, never);
    await killed.pause('job', { until: new Date(Date.now() - HOUR_MS), by: 'lee@ops' }, never);
    expect(pauseFiles()).toHaveLength(2);
    const provider = open();
    expect(await provider.resume('job', never)).toBe(false);
    await run(provider);
    expect(pauseFiles()).toEqual([]);
  });

  it('is numbered above those that stand, whatever the clock says', async () => {
    const ahead = open((store) => ({ now: async () => (await store.now()) + HOUR_MS }));
    await ahead.pause('job', { forMs: 1, by: 'kim@ops' }, never);
    // So it counts also if it cannot remove them.
    const provider = open(() => ({ remove: () => Promise.reject(new Error('a sticky directory')) }));
    await provider.pause('job', { forMs: 2 * HOUR_MS, by: 'lee@ops' }, never);
    expect(pauseFiles()).toHaveLength(2);
    expect(await attempt(provider)).toMatchObject({ reason: 'paused', by: 'lee@ops' });
  });

  it('holds for the file that is locked, under whichever name, and leaves alone what is not its own', async () => {
    mkdirSync(directory);
    const [beside, other] = [lockfile.beside(join(directory, 'data')), lockfile.beside(join(directory, 'data.json'))];
    opened.push(beside, other);
    writeFileSync(join(directory, 'data.paused'), 'precious');
    await beside.pause('one', { forMs: HOUR_MS, by: 'kim@ops' }, never);
    expect(await attempt(beside, { name: 'two' })).toMatchObject({ reason: 'paused' });
    expect(await attempt(other, { name: 'two' })).toMatchObject({ acquired: true });
    expect(await pausesOf(beside)).toMatchObject([{ name: 'one' }]);
    expect(await beside.resume('two', never)).toBe(true);
    expect(readFileSync(join(directory, 'data.paused'), 'utf8')).toBe('precious');
    expect(readdirSync(directory).filter((name) => /^data\.[0-9]+\.paused$/.test(name))).toEqual([]);
  });
});

describe('what stands in the place of a pause', () => {
  const planted = (number: string | bigint = '1'): string => lockPath(directory, `job.${number}.paused`);

  it('is not followed when it is a symbolic link: nothing starts, and to resume removes the link', async () => {
    const provider = open();
    const victim = join(base, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, planted());
    await expect(attempt(provider)).rejects.toThrow(/symbolic link: refused/);
    expect(await attempt(provider, { ignorePause: true })).toMatchObject({ acquired: true });
    await provider.pause('job', { forMs: HOUR_MS, by: 'kim@ops' }, never);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    symlinkSync(victim, planted(10n ** 17n));
    expect(await provider.resume('job', never)).toBe(true);
    expect(pauseFiles()).toEqual([]);
    expect(existsSync(victim)).toBe(true);
  });

  it('is not written through when it is a link with the number of the next pause', async () => {
    const provider = open((store) => ({
      now: () => Promise.resolve(Math.floor(Date.now() / HOUR_MS) * HOUR_MS),
      read: (key) => store.read(key),
    }));
    const victim = join(base, 'victim');
    const next = BigInt(Math.floor(Date.now() / HOUR_MS) * HOUR_MS) * 1_000n;
    symlinkSync(victim, planted(next));
    await provider.pause('job', { forMs: 2 * HOUR_MS, by: 'kim@ops' }, never);
    expect(existsSync(victim)).toBe(false);
    expect(await attempt(provider)).toMatchObject({ reason: 'paused', by: 'kim@ops' });
  });

  it.each([
    ['half of it', '{"name": "job", "un'],
    ['nothing', ''],
    ['no object', 'null'],
    ['no end', '{"name": "job", "by": "kim"}'],
  ])('counts as a pause when it cannot be read, and says so: %s', async (_, content) => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const provider = open();
    await run(provider);
    writeFileSync(planted(), content);
    expect(await attempt(provider)).toMatchObject({
      ...{ acquired: false, reason: 'paused', by: 'unknown' },
      note: 'the file job.1.paused cannot be read: resume the lock, and pause it again',
    });
    expect((await provider.inspect('job'))?.paused).toMatchObject({ by: 'unknown' });
    expect(await pausesOf(provider)).toEqual([]);
    expect(warned).toHaveBeenCalledWith(expect.stringContaining('job.1.paused'), { code: 'SOLORUN_UNREADABLE' });
    expect(await provider.resume('job', never)).toBe(true);
    await run(provider);
  });

  it('that cannot be read ends after as long as a pause may last', async () => {
    const provider = open();
    writeFileSync(planted(), '');
    utimesSync(planted(), new Date(), new Date(Date.now() - 31 * 24 * HOUR_MS));
    expect(await attempt(provider)).toMatchObject({ acquired: true });
  });

  it('is passed over when it has no number', async () => {
    const provider = open();
    writeFileSync(planted('x'), 'precious');
    linkSync(planted('x'), planted('01'));
    await run(provider);
    expect(pauseFiles()).toEqual(['job.01.paused', 'job.x.paused']);
    expect(lockFiles()).toHaveLength(1);
    expect(() => readlinkSync(planted('x'))).toThrow('EINVAL');
  });
});
