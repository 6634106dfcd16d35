import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AcquireResult, Grant, OccurrenceRequest } from '@solorun/core';
import { expect, it, onTestFinished } from 'vitest';
import { Generations } from '../src/generations.ts';
import { generationKey } from '../src/key.ts';
import type { FileStore } from '../src/store.ts';
import { localStore } from '../src/stores/local.ts';
import { gate } from './gate.ts';
import { startAtOne } from './places.ts';

// What random interleavings come upon once in ten thousand, step by step: processes that are paused in the middle of a claim or of a
// release while the lock goes through others' hands.

const SHORT_MS = 150;
const LONG_MS = 60_000;
/** Past the lease, what the store's clock is rounded by, and a timer that is early; later does no harm. */
const expired = (): Promise<void> => sleep(SHORT_MS + 100);

function directory(): () => FileStore {
  const path = mkdtempSync(join(tmpdir(), 'solorun-claims-'));
  startAtOne(path);
  const stores: FileStore[] = [];
  onTestFinished(async () => {
    for (const store of stores) await store.close();
    rmSync(path, { recursive: true });
  });
  return () => {
    // By time alone: whoever is told that its lease is lost lets go of the kernel's lock, and would be followed at once.
    const store = localStore({ directory: path, own: true, kernelLocks: false, allowNetworkFileSystem: false });
    stores.push(store);
    return store;
  };
}

const generationsOn = (store: FileStore): Generations =>
  new Generations({ store, keyOf: (name) => name, floorKey: '~all', durable: () => false });

function attempt(
  by: Generations,
  owner: string,
  leaseMs: number,
  occurrence?: OccurrenceRequest,
  signal = new AbortController().signal,
): Promise<AcquireResult> {
  const request = { name: 'job', owner, leaseMs, holder: { host: 'here', pid: process.pid, label: owner }, occurrence };
  return by.tryAcquire(request, signal);
}

async function acquire(...args: Parameters<typeof attempt>): Promise<Grant> {
  const result = await attempt(...args);
  if (!result.acquired) throw new Error(`${args[1]} was refused: ${result.reason}`);
  return result.grant;
}

const occurrence = { at: new Date(1_000_000), attempts: 3 };

/** A claim that stops when the file has been created, or before. */
function pausedClaim(store: FileStore, when: 'before' | 'after', signal = new AbortController().signal) {
  const paused = gate();
  const by = generationsOn({
    ...store,
    async createExclusive(...args) {
      if (when === 'before') await paused.pass();
      const made = await store.createExclusive(...args);
      if (when === 'after') await paused.pass();
      return made;
    },
  });
  return { paused, claim: (owner: string, of?: OccurrenceRequest) => attempt(by, owner, SHORT_MS, of, signal) };
}

it('gives the number of a claim that was withdrawn to nobody else, so that nobody can take it for another one', async () => {
  const open = directory();
  const quit = new AbortController();
  const withdrawn = pausedClaim(open(), 'after', quit.signal);
  const late = withdrawn.claim('withdrawn');
  await withdrawn.paused.reached;
  await expired();
  const stale = pausedClaim(open(), 'before');
  const claimed = stale.claim('stale');
  await stale.paused.reached;
  quit.abort(new Error('too late'));
  withdrawn.paused.open();
  await expect(late).rejects.toThrow('too late');

  const holder = generationsOn(open());
  const grant = await acquire(holder, 'holder', LONG_MS);
  expect(grant.fence).toBe(2n);
  stale.paused.open();
  expect(await claimed).toMatchObject({ acquired: false, reason: 'held', holder: { label: 'holder' } });
  expect(await holder.renew(grant)).toBe(true);
  expect(await holder.release(grant, { result: 'done' })).toBe(true);
});

it('keeps what a holder that came back has done, also when a claim above it is withdrawn', async () => {
  const open = directory();
  const holder = generationsOn(open());
  const grant = await acquire(holder, 'holder', SHORT_MS, occurrence);
  await expired();
  const { paused, claim } = pausedClaim(open(), 'before');
  const claimed = claim('next', { ...occurrence, at: new Date(2_000_000) });
  await paused.reached;
  expect(await holder.release(grant, { result: 'done' })).toBe(true);
  // It finds the file changed, and tries again by what that says.
  paused.open();
  expect(await claimed).toMatchObject({ acquired: true, grant: { previous: { at: occurrence.at, state: 'done' } } });
});

it('has no part in a run that was never started', async () => {
  const open = directory();
  const holder = generationsOn(open());
  await holder.release(await acquire(holder, 'holder', SHORT_MS, occurrence), { result: 'done' });
  const quit = new AbortController();
  const { paused, claim } = pausedClaim(open(), 'after', quit.signal);
  const claimed = claim('withdrawn', { ...occurrence, at: new Date(2_000_000) });
  await paused.reached;
  quit.abort(new Error('too late'));
  paused.open();
  await expect(claimed).rejects.toThrow('too late');
  expect(await holder.inspect('job')).toMatchObject({
    ...{ held: false, holder: { label: 'holder' } },
    occurrence: { at: occurrence.at, state: 'done' },
  });
  expect(await attempt(holder, 'again', SHORT_MS, occurrence)).toMatchObject({ acquired: false, reason: 'done' });
});

it.each([
  ['', 0],
  [', also when the clock was set back meanwhile', 60_000],
])('does not report a release that was written when somebody else had taken over%s', async (_, setBackMs) => {
  const open = directory();
  const written = gate();
  const store = open();
  let behindMs = 0;
  const holder = generationsOn({
    ...store,
    now: async () => (await store.now()) - behindMs,
    async write(...args) {
      await written.pass();
      return store.write(...args);
    },
  });
  const grant = await acquire(holder, 'holder', SHORT_MS, occurrence);
  const released = holder.release(grant, { result: 'done' });
  await written.reached;
  await expired();
  const next = await acquire(generationsOn(open()), 'next', SHORT_MS, occurrence);
  expect(next.attempt).toBe(2);
  behindMs = setBackMs;
  written.open();
  await expect(released).rejects.toThrow('the lease ended before the release was written');
});

it('removes old generations lowest first, and keeps the one that it has followed', async () => {
  const store = directory()();
  const removed: string[] = [];
  let isStuck = true;
  const by = generationsOn({
    ...store,
    async remove(key) {
      if (isStuck) throw new Error('a sticky directory');
      removed.push(key);
      return store.remove(key);
    },
  });
  for (let n = 0; n < 4; n += 1) await by.release(await acquire(by, 'holder', LONG_MS), { result: 'done' });
  isStuck = false;
  expect((await acquire(by, 'holder', LONG_MS)).fence).toBe(5n);
  expect(removed).toEqual([1n, 2n, 3n].map((generation) => generationKey('job', generation)));
});

it('releases and renews for nobody who knows the number of a lease alone', async () => {
  const open = directory();
  const holder = generationsOn(open());
  const grant = await acquire(holder, 'holder', LONG_MS);
  const other = generationsOn(open());
  const forged = { name: grant.name, owner: 'other', fence: grant.fence, attempt: 1 };
  expect(await other.renew(forged)).toBe(false);
  expect(await other.release(forged, { result: 'done' })).toBe(false);
  expect(await attempt(other, 'other', LONG_MS)).toMatchObject({ acquired: false, reason: 'held' });
});

it('does not take over a lease of the future, as after the clock was set back, before it has stood unchanged for as long as it lasts', async () => {
  const open = directory();
  const grant = await acquire(generationsOn(open()), 'holder', SHORT_MS);
  const store = open();
  const next = generationsOn({ ...store, now: async () => (await store.now()) - 3_600_000 });
  expect(await attempt(next, 'next', SHORT_MS)).toMatchObject({ acquired: false, reason: 'held', holder: { label: 'holder' } });
  await expired();
  expect(await acquire(next, 'next', SHORT_MS)).toMatchObject({ fence: grant.fence + 1n });
});

/** A holder whose store's clock is set back by an hour once it has acquired. */
async function holderWithAClockSetBack(leaseMs: number): Promise<{ readonly holder: Generations; readonly grant: Grant }> {
  const store = directory()();
  let behindMs = 0;
  const holder = generationsOn({ ...store, now: async () => (await store.now()) - behindMs });
  const grant = await acquire(holder, 'holder', leaseMs);
  behindMs = 3_600_000;
  return { holder, grant };
}

it('renews a lease in time although the clock was set back meanwhile', async () => {
  const { holder, grant } = await holderWithAClockSetBack(LONG_MS);
  expect(await holder.renew(grant)).toBe(true);
});

it('does not renew a lease by a clock that was set back when its time is over by its own', async () => {
  const { holder, grant } = await holderWithAClockSetBack(SHORT_MS);
  await expired();
  expect(await holder.renew(grant)).toBe(false);
});
