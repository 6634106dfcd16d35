import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AcquireRequest, AcquireResult, Grant, JobRecord, LockProvider } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockfile, type FileStore } from '../src/index.ts';
import { localStore } from '../src/stores/local.ts';
import { gate } from './gate.ts';
import { filesBelow, lockPath } from './places.ts';

// Forgotten locks, step by step: processes that are paused or killed in the middle, while others forget the lock and start it anew.

const HOUR_MS = 3_600_000;
const never = new AbortController().signal;
const occurrence = { at: new Date(1_000_000), attempts: 1 };

let directory: string;
const opened: LockProvider[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-forget-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((provider) => provider.close()));
  rmSync(directory, { recursive: true });
});

function open(wrap: (store: FileStore) => Partial<FileStore> = () => ({}), onStale?: (record: JobRecord) => boolean): LockProvider {
  const store = localStore({ directory, own: true, kernelLocks: true, allowNetworkFileSystem: false });
  const provider = lockfile({ store: { ...store, ...wrap(store) }, onStale });
  opened.push(provider);
  return provider;
}

async function attempt(provider: LockProvider, more: Partial<AcquireRequest> = {}): Promise<AcquireResult> {
  const request = { name: 'job', owner: `${Math.random()}`, leaseMs: 60_000, holder: { host: 'here', pid: process.pid }, ...more };
  return provider.tryAcquire(request, never);
}

async function acquire(provider: LockProvider, more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const result = await attempt(provider, more);
  if (!result.acquired) throw new Error(`refused: ${result.reason}`);
  return result.grant;
}

async function run(provider: LockProvider, more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const grant = await acquire(provider, more);
  await provider.release(grant, { result: 'done' }, never);
  return grant;
}

async function namesOf(provider: LockProvider): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { name } of provider.list()) names.push(name);
  return names;
}

/** The file is written, and then somebody else comes first. */
function followedAfterWriting(words: string, follow: () => Promise<unknown>): (store: FileStore) => Partial<FileStore> {
  return (store) => ({
    async write(key, body, care) {
      const written = await store.write(key, body, care);
      if (body.includes(words)) await follow();
      return written;
    },
  });
}

const forget = (provider: LockProvider): Promise<boolean> => provider.forget('job', { untouchedForMs: 0 }, never);
const lockFiles = (): string[] => filesBelow(directory).filter((name) => name.endsWith('.lock'));

/** A process that stops when it is about to create a generation, and may be killed when it has. */
function stopped(when: 'before' | 'after', generation = /\.lock$/) {
  const paused = gate();
  let isKilled = false;
  let created: bigint | undefined;
  const killed = async <T>(act: () => Promise<T>): Promise<T> => (isKilled ? Promise.reject(new Error('killed')) : act());
  const provider = open((store) => ({
    async createExclusive(...args) {
      if (!generation.test(args[0])) return store.createExclusive(...args);
      if (when === 'before') await paused.pass();
      created ??= BigInt(args[0].split('.')[1]!);
      const answer = await store.createExclusive(...args);
      if (when === 'after') await paused.pass();
      return answer;
    },
    list: (prefix) => killed(() => store.list(prefix)),
    read: (key) => killed(() => store.read(key)),
    write: (...args) => killed(() => store.write(...args)),
    remove: (key) => killed(() => store.remove(key)),
  }));
  return { provider, paused, kill: () => (isKilled = true), created: () => created };
}

describe('a fence', () => {
  it('is greater than all before when the directory was emptied', async () => {
    const { fence } = await run(open());
    for (const folder of readdirSync(directory)) rmSync(join(directory, folder), { recursive: true });
    expect((await run(open())).fence).toBeGreaterThan(fence);
  });

  it('is greater than all before when the clock was set back after the lock was forgotten', async () => {
    const provider = open();
    let last = 0n;
    for (const behindMs of [0, HOUR_MS, 1_000 * HOUR_MS]) {
      const behind = open((store) => ({ now: async () => (await store.now()) - behindMs }));
      for (let n = 0; n < 3; n += 1) {
        const { fence } = await run(behind);
        expect(fence).toBeGreaterThan(last);
        last = fence;
      }
      expect(await forget(provider)).toBe(true);
    }
  });

  it('is not taken from what a process remembers of a lock that was forgotten', async () => {
    const provider = open();
    const other = open();
    let last = 0n;
    for (let n = 0; n < 9; n += 1) {
      const { fence } = await run(provider);
      expect(fence).toBeGreaterThan(last);
      last = fence;
      if (n % 3 === 2) await forget(other);
    }
  });
});

describe('a process that was paused with an old list while the lock was forgotten', () => {
  it('is granted nothing, and leaves nothing', async () => {
    const provider = open();
    for (let n = 0; n < 2; n += 1) await run(provider);
    const late = stopped('before');
    const trying = attempt(late.provider);
    await late.paused.reached;
    let last = 0n;
    for (let n = 0; n < 5; n += 1) last = (await run(provider)).fence;
    expect(await forget(provider)).toBe(true);
    late.paused.open();
    const result = await trying;
    if (!result.acquired) throw new Error('refused');
    expect(result.grant.fence).toBeGreaterThan(last);
    expect(lockFiles()).toEqual([`job.${result.grant.fence}.lock`]);
  });

  it('leaves a file that is not followed when it is killed then', async () => {
    const provider = open();
    for (let n = 0; n < 2; n += 1) await run(provider);
    const late = stopped('before');
    const trying = attempt(late.provider, { occurrence });
    await late.paused.reached;
    let last = 0n;
    for (let n = 0; n < 5; n += 1) last = (await run(provider)).fence;
    expect(await forget(provider)).toBe(true);
    late.kill();
    late.paused.open();
    await expect(trying).rejects.toThrow('killed');
    expect(lockFiles()).toHaveLength(1);
    const next = await acquire(open());
    expect(next.fence).toBeGreaterThan(last);
    // What the file says is kept: it may have been a claim in due form.
    expect(next.previous).toMatchObject({ at: occurrence.at, state: 'claimed' });
    await provider.release(next, { result: 'done' }, never);
    expect((await run(provider)).fence).toBe(next.fence + 1n);
  });

  it('does not start a lock that others have started', async () => {
    await run(open(), { name: 'other' });
    const late = stopped('before');
    const trying = attempt(late.provider);
    await late.paused.reached;
    const provider = open();
    await run(provider);
    expect(await forget(provider)).toBe(true);
    const holder = await acquire(provider);
    late.paused.open();
    expect(await trying).toMatchObject({ acquired: false, reason: 'held' });
    expect(await provider.renew(holder, never)).toBe(true);
    expect(lockFiles()).toContain(`job.${holder.fence}.lock`);
  });

  it('takes itself back beside a lock that a process of the version before has started', async () => {
    await run(open(), { name: 'other' });
    const late = stopped('before', /^job\.[0-9]{9,}\.lock$/);
    const trying = attempt(late.provider);
    await late.paused.reached;
    // That version starts at 1, and knows of no floor.
    const before = { solorun: 1, name: 'job', state: 'held', owner: 'before', acquiredAt: new Date(), leaseMs: 60_000 };
    writeFileSync(lockPath(directory, 'job.1.lock'), JSON.stringify(before));
    late.paused.open();
    expect(await trying).toMatchObject({ acquired: false, reason: 'held' });
    expect(lockFiles().filter((name) => name.startsWith('job'))).toEqual(['job.1.lock']);
    // And its number is not given again, once the other one has ended.
    rmSync(lockPath(directory, 'job.1.lock'));
    expect((await run(open())).fence).toBeGreaterThan(late.created()!);
  });
});

describe('a process that is killed while it forgets a lock', () => {
  it('has forgotten nothing if it has only acquired the lock', async () => {
    const provider = open();
    await run(provider, { occurrence });
    const killed = open(() => ({ write: () => Promise.reject(new Error('killed')) }));
    await expect(forget(killed)).rejects.toThrow('killed');
    await killed.close();
    expect(await provider.inspect('job')).toMatchObject({ held: false, lastOutcome: 'done', occurrence: { state: 'done' } });
    expect(await attempt(provider, { occurrence })).toMatchObject({ reason: 'done' });
    expect(await provider.runs('job', 9)).toMatchObject([{ outcome: 'done' }]);
    const { fence } = await run(provider);
    expect((await provider.runs('job', 9)).map(({ outcome }) => outcome)).toEqual(['done']);
    expect(await forget(provider)).toBe(true);
    expect((await run(provider)).fence).toBeGreaterThan(fence);
  });

  it.each(['createExclusive', 'remove'] as const)('has forgotten it for all once it was closed, and %s failed', async (verb) => {
    const provider = open();
    const { fence } = await run(provider, { occurrence });
    const killed = open((store) => ({
      [verb]: (key: string, ...args: [string, boolean]) =>
        verb === 'createExclusive' && !key.endsWith('.floor')
          ? store.createExclusive(key, ...args)
          : Promise.reject(new Error('killed')),
    }));
    await expect(forget(killed)).rejects.toThrow('killed');
    expect(lockFiles()).toHaveLength(2);
    expect(await provider.inspect('job')).toBeUndefined();
    expect(await provider.runs('job', 9)).toEqual([]);
    expect(await namesOf(provider)).toEqual([]);
    expect(await forget(provider)).toBe(false);
    const next = await run(provider, { occurrence });
    expect(next).toMatchObject({ attempt: 1, previous: undefined });
    expect(next.fence).toBeGreaterThan(fence + 1n);
    expect(lockFiles()).toEqual([`job.${next.fence}.lock`]);
  });

  it('is followed by others when it comes back after its lease, and forgets nothing then', async () => {
    const provider = open();
    await run(provider, { occurrence });
    const paused = gate();
    const late = open((store) => ({
      async write(...args) {
        await paused.pass();
        return store.write(...args);
      },
    }));
    const forgetting = forget(late);
    await paused.reached;
    const ahead = open((store) => ({ now: async () => (await store.now()) + HOUR_MS }));
    const holder = await acquire(ahead, { leaseMs: null });
    expect(holder.previous).toMatchObject({ state: 'done' });
    paused.open();
    expect(await forgetting).toBe(false);
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: holder.fence });
    expect(await ahead.release(holder, { result: 'done' }, never)).toBe(true);
    expect(await attempt(provider, { occurrence })).toMatchObject({ reason: 'done' });
  });
});

describe('forget', () => {
  it('is done by one of several processes', async () => {
    for (let n = 0; n < 10; n += 1) {
      const providers = [open(), open(), open()];
      await run(providers[0]!);
      const forgotten = await Promise.all(providers.map((provider) => forget(provider)));
      expect(forgotten.filter(Boolean)).toHaveLength(1);
      expect(lockFiles()).toEqual([]);
    }
  });

  it('leaves a lock alone that onStale does not give up', async () => {
    const dying = lockfile({ directory, crashDetection: 'never' });
    await acquire(dying, { leaseMs: 100 });
    await dying.close();
    const ahead = (store: FileStore): Partial<FileStore> => ({ now: async () => (await store.now()) + HOUR_MS });
    expect(await forget(open(ahead, () => false))).toBe(false);
    expect(await forget(open(ahead, () => true))).toBe(true);
  });

  it('leaves no pause behind that is over', async () => {
    const provider = open();
    await run(provider);
    await provider.pause('job', { until: new Date(Date.now() - HOUR_MS), by: 'kim@ops' }, never);
    expect(await forget(provider)).toBe(true);
    expect(filesBelow(directory)).toEqual([]);
  });

  it('keeps one file for all names, however many it has removed', async () => {
    const provider = open();
    for (let n = 0; n < 20; n += 1) {
      await run(provider, { name: `job-${n}` });
      expect(await provider.forget(`job-${n}`, { untouchedForMs: 0 }, never)).toBe(true);
    }
    expect(filesBelow(directory)).toEqual([]);
    const floors = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.floor'));
    expect(floors.length).toBeLessThanOrEqual(2);
  });
});

describe('reopen', () => {
  it('is undone by no process that acquires the lock at that moment', async () => {
    const provider = open();
    await run(provider, { occurrence });
    const paused = gate();
    const late = open((store) => ({
      async write(...args) {
        await paused.pass();
        return store.write(...args);
      },
    }));
    const reopening = late.reopen('job', never);
    await paused.reached;
    expect(await attempt(provider, { occurrence })).toMatchObject({ reason: 'done' });
    expect(await attempt(provider)).toMatchObject({ reason: 'held' });
    paused.open();
    expect(await reopening).toEqual({ at: occurrence.at, state: 'reopened', attempt: 1 });
    expect(await acquire(provider, { occurrence })).toMatchObject({ attempt: 2 });
  });
});

describe('a record that is changed while another process waits for the lock', () => {
  it('was opened again if the one that followed has seen it', async () => {
    const other = open();
    await run(other, { occurrence });
    let followed: Grant | undefined;
    const provider = open(followedAfterWriting('reopened', async () => (followed = await acquire(other, { occurrence }))));
    expect(await provider.reopen('job', never)).toMatchObject({ state: 'reopened', attempt: 1 });
    expect(followed).toMatchObject({ attempt: 2 });
  });

  it('is not forgotten twice: one that starts anew has the name', async () => {
    const other = open();
    const before = await run(other);
    let followed: Grant | undefined;
    const provider = open(followedAfterWriting('"closed": true', async () => (followed = await acquire(other))));
    expect(await forget(provider)).toBe(false);
    expect(followed!.fence).toBeGreaterThan(before.fence);
    expect(await provider.inspect('job')).toMatchObject({ held: true, fence: followed!.fence });
    expect(lockFiles()).toHaveLength(1);
  });
});
