import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AcquireRequest, Grant, LockProvider } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockfile } from '../src/index.ts';
import { filesBelow, lockPath } from './places.ts';

// Two versions of this package use one directory during a deployment.

const never = new AbortController().signal;

let directory: string;
let provider: LockProvider;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-versions-'));
  provider = lockfile({ directory });
});
afterEach(async () => {
  await provider.close();
  rmSync(directory, { recursive: true });
});

async function acquire(more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const request = { name: 'job', owner: `${Math.random()}`, leaseMs: 60_000, holder: { host: 'here', pid: process.pid }, ...more };
  const result = await provider.tryAcquire(request, never);
  if (!result.acquired) throw new Error(`refused: ${result.reason}`);
  return result.grant;
}

async function run(more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const grant = await acquire(more);
  await provider.release(grant, { result: 'done' }, never);
  return grant;
}

/** As the version before has written it. */
const before = {
  solorun: 1,
  name: 'job',
  state: 'released',
  holder: { host: 'web-1', pid: 16537, label: 'worker-3' },
  acquiredAt: '2026-03-01T18:28:27.653Z',
  leaseMs: 10000,
  occurrence: { at: '2026-03-01T18:00:00.000Z', state: 'done', attempt: 1 },
  lastStartedAt: '2026-03-01T18:28:27.653Z',
  lastSuccessAt: '2026-03-01T18:28:27.658Z',
  lastDurationMs: 5.4248046875,
  owner: 'nonce',
  claimed: true,
  scheduleHash: 'digest',
  proof: { pid: 16537 },
};

function write(generation: bigint | number, record: object): void {
  writeFileSync(lockPath(directory, `job.${generation}.lock`), JSON.stringify(record));
}

function read(generation: bigint): Record<string, unknown> {
  return JSON.parse(readFileSync(lockPath(directory, `job.${generation}.lock`), 'utf8')) as Record<string, unknown>;
}

describe('a record of the version before', () => {
  it('is read, and what it does not tell is undefined', async () => {
    write(6, before);
    write(7, before);
    const record = await provider.inspect('job');
    expect(record).toMatchObject({ held: false, fence: 7n, leaseMs: 10_000, occurrence: { state: 'done' } });
    expect(record).toMatchObject({ knownSince: new Date(before.acquiredAt), lastOutcome: undefined, lastRunBy: undefined });
    expect(await provider.runs('job', 9)).toEqual([]);
  });

  it('is followed by the next fence, and nothing of it is lost', async () => {
    write(6, before);
    write(7, before);
    const occurrence = { at: new Date('2026-03-01T19:00:00Z'), attempts: 1 };
    const grant = await run({ occurrence });
    expect(grant).toMatchObject({ fence: 8n, previous: { state: 'done' }, previousScheduleHash: 'digest' });
    expect(await provider.inspect('job')).toMatchObject({ knownSince: new Date(before.acquiredAt), lastOutcome: 'done' });
    expect(await provider.runs('job', 9)).toMatchObject([{ fence: 8n, outcome: 'done' }]);
  });

  it('is followed by a greater fence where it is the first one, and nothing of it is lost', async () => {
    write(1, before);
    const grant = await acquire({ occurrence: { at: new Date('2026-03-01T19:00:00Z'), attempts: 1 } });
    expect(grant.previous).toMatchObject({ state: 'done' });
    expect(grant.fence).toBeGreaterThan(BigInt(Date.parse('2026-01-01')) * 1_000n);
  });

  it('may follow one of this version: history begins anew, and the name is known from some later moment', async () => {
    const { fence } = await run({ history: true });
    const { knownSince } = (await provider.inspect('job'))!;
    write(fence + 1n, before);
    expect(await provider.runs('job', 9)).toEqual([]);
    const next = await run({ history: true });
    expect(next.fence).toBe(fence + 2n);
    expect((await provider.inspect('job'))!.knownSince! < knownSince!).toBe(true);
    expect(await provider.runs('job', 9)).toMatchObject([{ fence: next.fence }]);
  });
});

describe('a record of a later version', () => {
  it('keeps its fields through runs, changes and takeovers', async () => {
    const later = { wakes: { at: [1, 2] }, 'a "quoted" name': 1, ['__proto__']: 'y' };
    write(6, before);
    write(7, { ...before, ...later });
    await run();
    await run({ history: true });
    await provider.reopen('job', never);
    const { fence } = await acquire();
    const kept = read(fence);
    expect(kept).toMatchObject({ wakes: { at: [1, 2] }, 'a "quoted" name': 1 });
    expect(Object.getOwnPropertyDescriptor(kept, '__proto__')?.value).toBe('y');
  });
});

describe('what is written', () => {
  it('has no history where none was asked for', async () => {
    const { fence } = await run();
    expect(Object.keys(read(fence))).not.toContain('runs');
    await run();
    const { fence: held } = await acquire();
    expect(readFileSync(lockPath(directory, `job.${held}.lock`)).length).toBeLessThan(1_000);
  });

  it('stays small however long errors are, and whatever its processes are called', async () => {
    const error = `${'x'.repeat(198)}😀${'y'.repeat(5_000)}`;
    for (let n = 0; n < 55; n += 1) {
      const holder = { host: 'h'.repeat(64), pid: process.pid, label: 'l'.repeat(500) };
      const grant = await acquire({ history: true, holder });
      await provider.release(grant, { result: 'failed', error }, never);
    }
    const [file] = filesBelow(directory).toReversed();
    expect(readFileSync(lockPath(directory, file!)).length).toBeLessThan(32 * 1024);
    const runs = await provider.runs('job', 50);
    expect(runs.length).toBeGreaterThan(20);
    expect(runs[0]?.error).toBe(`${'x'.repeat(198)}…`);
    expect((await provider.inspect('job'))?.lastError).toBe(error);
  });
});
