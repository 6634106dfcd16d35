import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createSolo, type Solo } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockfile, type LocalLockOptions } from '@solorun/lockfile';
import { killAll, start, type JsonProcess } from './json-process.ts';

let directory: string;
const solos: Solo[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-crash-'));
});
afterEach(async () => {
  killAll();
  await Promise.all(solos.splice(0).map((solo) => solo.close()));
  rmSync(directory, { recursive: true });
});

function open(options: LocalLockOptions = {}): Solo {
  const solo = createSolo({ provider: lockfile({ directory, ...options }) });
  solos.push(solo);
  return solo;
}

/** Another process that holds the lock. */
interface Holder extends JsonProcess {
  readonly fence: bigint;
}

async function hold(leaseMs: number | null, crashDetection = 'kernel', title = ''): Promise<Holder> {
  const store = `${pathToFileURL(directory).href}?crashDetection=${crashDetection}`;
  const holder = start(new URL('./programs/hold.js', import.meta.url), [store, 'job', String(leaseMs), title]);
  const { held } = await holder.says('held');
  return Object.assign(holder, { fence: BigInt(String(held)) });
}

/** Rewrites what the holder said of itself. */
function tamper(change: (proof: Record<string, unknown>) => void): void {
  const files = readdirSync(directory, { encoding: 'utf8', recursive: true });
  const path = join(
    directory,
    files.find((file) => file.endsWith('.lock'))!,
  );
  const record = JSON.parse(readFileSync(path, 'utf8')) as { proof: Record<string, unknown> };
  change(record.proof);
  writeFileSync(`${path}.new`, JSON.stringify(record));
  renameSync(`${path}.new`, path);
}

describe('the death of a process that holds a lockfile', () => {
  for (const crashDetection of ['kernel', 'processes'] as const) {
    it(`frees its lock at once, as seen by ${crashDetection}`, async () => {
      const holder = await hold(60_000, crashDetection);
      const solo = open({ crashDetection });
      expect(await solo.tryAcquire('job')).toBeUndefined();
      await holder.killed();
      expect((await solo.tryAcquire('job'))?.fence).toBe(holder.fence + 1n);
    });

    it(`wakes who waits for it, as seen by ${crashDetection}, long before the lease ends`, async () => {
      const holder = await hold(60_000, crashDetection);
      const waiting = open({ crashDetection }).acquire('job', { waitMs: 20_000 });
      await holder.killed();
      expect((await waiting).fence).toBe(holder.fence + 1n);
    });
  }

  it('frees also a lease without end', async () => {
    const holder = await hold(null);
    const solo = open();
    expect(await solo.tryAcquire('job')).toBeUndefined();
    await holder.killed();
    expect(await solo.tryAcquire('job')).toBeDefined();
  });

  it('is not taken from a pause: a stopped holder is alive, and expiry deals with it', async () => {
    const holder = await hold(60_000);
    holder.kill('SIGSTOP');
    expect(await open().tryAcquire('job')).toBeUndefined();
    expect(await open({ crashDetection: 'processes' }).tryAcquire('job')).toBeUndefined();
  });

  it('is found in the process table although the name of the program has spaces and parentheses', async () => {
    const holder = await hold(60_000, 'processes', 'we) ird (x');
    const solo = open({ crashDetection: 'processes' });
    expect(await solo.tryAcquire('job')).toBeUndefined();
    await holder.killed();
    expect(await solo.tryAcquire('job')).toBeDefined();
  });

  it('is believed of another process that has its pid now', async () => {
    const holder = await hold(60_000, 'processes');
    await holder.killed();
    // This process lives, and did not start when the holder did.
    tamper((proof) => (proof['pid'] = process.pid));
    expect(await open({ crashDetection: 'processes' }).tryAcquire('job')).toBeDefined();
  });

  const unknowable: [string, (proof: Record<string, unknown>) => void, LocalLockOptions][] = [
    ['on another boot of this machine, or on another one', (proof) => (proof['bootId'] = 'another'), {}],
    ['whose kernel lock is on another mount', (proof) => ((proof['lockedOn'] = '999'), delete proof['pidNamespace']), {}],
    ['in another pid namespace', (proof) => ((proof['pidNamespace'] = 'pid:[1]'), delete proof['lockedOn']), {}],
    ['that said nothing of itself', (proof) => delete proof['bootId'], {}],
    ['if nobody is to look', () => {}, { crashDetection: 'never' }],
  ];
  for (const [whose, change, options] of unknowable) {
    it(`cannot be known of a holder ${whose}: only expiry frees the lock`, async () => {
      const holder = await hold(60_000);
      await holder.killed();
      tamper(change);
      expect(await open(options).tryAcquire('job')).toBeUndefined();
    });
  }
});

describe('a holder that is gone for longer than its lease', () => {
  it('loses the lock, is told so first thing when it wakes, and cannot release it', async () => {
    const holder = await hold(500);
    holder.kill('SIGSTOP');
    const lease = await open().acquire('job', { waitMs: 20_000 });
    expect(lease.fence).toBe(holder.fence + 1n);
    holder.kill('SIGCONT');
    expect(await holder.says('lost')).toMatchObject({ lost: 'expired' });
    holder.write('release');
    expect(await holder.says('released')).toMatchObject({ released: false });
    lease.checkpoint();
    expect(await lease.release()).toBe(true);
  });
});
