import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSolo, OptionError, ProviderError, type JobRecord, type Solo } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockfile, type LocalLockOptions } from '../src/index.ts';

let base: string;
let directory: string;
const solos: Solo[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'solorun-local-'));
  directory = join(base, 'locks');
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(solos.splice(0).map((solo) => solo.close()));
  rmSync(base, { recursive: true, force: true });
});

function open(options: LocalLockOptions & { readonly leaseMs?: number | null } = {}): Solo {
  const { leaseMs = 60_000, ...rest } = options;
  const solo = createSolo({ provider: lockfile({ directory, ...rest }), leaseMs });
  solos.push(solo);
  return solo;
}

const nothing = (): void => {};

describe('the lock directory', () => {
  it('is made for its owner alone', () => {
    open();
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  it('is refused when it is a symbolic link', () => {
    mkdirSync(join(base, 'elsewhere'));
    symlinkSync(join(base, 'elsewhere'), directory);
    expect(() => open()).toThrow(/symbolic link/);
  });

  it('is refused when everybody may write to it', () => {
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    expect(() => open()).toThrow(OptionError);
    expect(() => open()).toThrow(/chmod o-w/);
  });

  it('is refused when it is a file, and when it is not named', () => {
    writeFileSync(directory, '');
    expect(() => open()).toThrow(/EEXIST|not a directory/);
    expect(() => lockfile({ directory: '' })).toThrow(OptionError);
  });

  it('holds one file per lock after many runs, and no temporary ones', async () => {
    const solo = open();
    for (let n = 0; n < 10; n += 1) await solo.run('job', nothing);
    // The last generation, and the one below it.
    expect(readdirSync(directory).sort()).toEqual(['job.10.lock', 'job.9.lock']);
  });

  it('passes over files that are not ours', async () => {
    const solo = open();
    for (const file of ['job.lock', 'job.01.lock', 'job.x.lock', 'job.7.lock.bak', 'README'])
      writeFileSync(join(directory, file), 'x');
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ status: 'ran', value: 1n });
    const names: string[] = [];
    for await (const { name } of solo.list()) names.push(name);
    expect(names).toEqual(['job']);
  });

  it('loses temporary files that a crash left behind long ago', async () => {
    mkdirSync(directory, { mode: 0o700 });
    const old = join(directory, '.0b0ae5b0.tmp');
    const recent = join(directory, '.1b0ae5b0.tmp');
    for (const file of [old, recent]) writeFileSync(file, 'x');
    utimesSync(old, new Date(), new Date(Date.now() - 2 * 3_600_000));
    await open().run('job', nothing);
    expect([existsSync(old), existsSync(recent)]).toEqual([false, true]);
  });
});

describe('a lock file', () => {
  it('can be read by a person while it is held, and afterwards', async () => {
    const solo = createSolo({ provider: lockfile({ directory }), label: 'worker-3' });
    solos.push(solo);
    const occurrence = new Date('2026-01-02T03:00:00Z');
    await solo.run(
      'nightly-report',
      () => {
        const text = readFileSync(join(directory, 'nightly-report.1.lock'), 'utf8');
        expect(text).toContain('"state": "held"');
        expect(text).toContain('"label": "worker-3"');
        expect(text).toContain('"at": "2026-01-02T03:00:00.000Z"');
        expect(text.split('\n').length).toBeGreaterThan(10);
      },
      { occurrence },
    );
    expect(readFileSync(join(directory, 'nightly-report.1.lock'), 'utf8')).toContain('"state": "done"');
  });

  it('stays within its directory whatever its name is', async () => {
    const solo = open();
    const names = [
      '../escape',
      '/etc/passwd',
      '..',
      '.',
      'a/b',
      'a\\b',
      'con',
      'x\n',
      '😀'.repeat(500),
      'n'.repeat(500),
      '~',
      '.tmp',
    ];
    for (const name of names) expect(await solo.run(name, nothing)).toMatchObject({ status: 'ran' });
    expect(readdirSync(base)).toEqual(['locks']);
    expect(readdirSync(directory)).toHaveLength(names.length);
    for (const file of readdirSync(directory)) expect(file).toMatch(/^[a-z0-9_~-]+\.1\.lock$/);
  });

  it('is refused when a symbolic link stands in its place, which is not followed', async () => {
    const solo = open();
    const victim = join(base, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, join(directory, 'job.1.lock'));
    await expect(solo.run('job', nothing)).rejects.toThrow(/symbolic link/);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
  });

  it('is refused when a named pipe or something huge stands in its place, without waiting for it', async () => {
    const solo = open();
    execFileSync('mkfifo', [join(directory, 'pipe.1.lock')]);
    await expect(solo.run('pipe', nothing)).rejects.toThrow(/not a regular file/);
    writeFileSync(join(directory, 'huge.1.lock'), '');
    truncateSync(join(directory, 'huge.1.lock'), 1e9);
    await expect(solo.run('huge', nothing)).rejects.toThrow(/too large/);
  });

  it('of a newer version is refused with the remedy', async () => {
    const solo = open();
    writeFileSync(join(directory, 'job.1.lock'), JSON.stringify({ solorun: 2, name: 'job' }));
    await expect(solo.run('job', nothing)).rejects.toThrow(/newer Solorun.*upgrade/);
  });

  it('that a crash of the machine emptied counts as held for a minute, then its predecessor counts', async () => {
    const solo = open();
    const occurrence = new Date('2026-01-02T03:00:00Z');
    await solo.run('job', nothing, { occurrence });
    const empty = join(directory, 'job.2.lock');
    writeFileSync(empty, '');
    expect(await solo.run('job', nothing)).toMatchObject({ status: 'skipped', reason: 'held' });
    utimesSync(empty, new Date(), new Date(Date.now() - 61_000));
    expect(await solo.run('job', nothing, { occurrence })).toMatchObject({ status: 'skipped', reason: 'done' });
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ value: 3n });
  });

  it('is renewed in place: its content stays, its modification time moves', async () => {
    const solo = open({ leaseMs: 300 });
    await using lease = await solo.acquire('job', { waitMs: 0 });
    const path = join(directory, 'job.1.lock');
    const before = statSync(path);
    await vi.waitFor(() => expect(statSync(path).mtimeMs).toBeGreaterThan(before.mtimeMs), { timeout: 5_000 });
    expect(statSync(path).ino).toBe(before.ino);
    lease.checkpoint();
  });

  it('does not expire because a clock of ours was set', async () => {
    const [a, b] = [open(), open()];
    await using lease = await a.acquire('job', { waitMs: 0 });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
    expect(await b.tryAcquire('job')).toBeUndefined();
    lease.checkpoint();
  });

  it('tells its holder when somebody deletes it', async () => {
    const solo = open({ leaseMs: 300 });
    const lease = await solo.acquire('job', { waitMs: 0 });
    rmSync(join(directory, 'job.1.lock'));
    await vi.waitFor(() => expect(lease.signal.aborted).toBe(true), { timeout: 5_000 });
    expect(lease.signal.reason).toMatchObject({ reason: 'taken' });
  });

  it('tells its holder when it is deleted with the whole directory', async () => {
    const solo = open({ leaseMs: 300 });
    const lease = await solo.acquire('job', { waitMs: 0 });
    rmSync(directory, { recursive: true });
    await vi.waitFor(() => expect(lease.signal.aborted).toBe(true), { timeout: 5_000 });
    await expect(solo.run('job', nothing)).rejects.toThrow(ProviderError);
  });
});

describe('onStale', () => {
  it('may veto a takeover, and is asked again at the next try', async () => {
    const seen: JobRecord[] = [];
    let allowed = false;
    const holder = open({ leaseMs: 100, crashDetection: 'never' });
    const taker = open({
      onStale: (record) => {
        seen.push(record);
        return allowed;
      },
    });
    await holder.acquire('job', { waitMs: 0 });
    // As a crash would: it is neither released nor renewed any more.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    await vi.waitUntil(async () => (await taker.tryAcquire('job')) === undefined && seen.length > 0, { timeout: 5_000 });
    expect(seen[0]).toMatchObject({ name: 'job', fence: 1n, held: false });
    expect(await taker.tryAcquire('job')).toBeUndefined();
    allowed = true;
    expect((await taker.tryAcquire('job'))?.fence).toBe(2n);
  });
});

describe('lockfile.beside', () => {
  it('locks the file itself: by any path to it and under any name', async () => {
    const file = join(base, 'accounts.json');
    writeFileSync(file, '{}');
    symlinkSync(file, join(base, 'link.json'));
    const direct = createSolo({ provider: lockfile.beside(file) });
    const linked = createSolo({ provider: lockfile.beside(join(base, 'link.json')) });
    solos.push(direct, linked);
    await using lease = await direct.acquire('rewrite', { waitMs: 0 });
    expect(await linked.tryAcquire('something else')).toBeUndefined();
    expect(readdirSync(base).sort()).toEqual(['accounts.json', 'accounts.json.1.lock', 'link.json']);
    expect(readFileSync(file, 'utf8')).toBe('{}');
    expect(lease.fence).toBe(1n);
  });

  it('keeps apart files whose names begin alike, and locks one that does not exist yet', async () => {
    const one = createSolo({ provider: lockfile.beside(join(base, 'report')) });
    const two = createSolo({ provider: lockfile.beside(join(base, 'report.csv')) });
    const long = createSolo({ provider: lockfile.beside(join(base, 'n'.repeat(255))) });
    solos.push(one, two, long);
    for (const solo of [one, two, long]) expect(await solo.tryAcquire('it')).toBeDefined();
  });

  it('needs the directory of the file', () => {
    expect(() => lockfile.beside(join(base, 'missing', 'file'))).toThrow(/ENOENT/);
    expect(() => lockfile.beside('')).toThrow(OptionError);
  });
});

describe('a full disk', () => {
  it.runIf(canMount())('starts nothing, says so, and works again when there is room', async () => {
    mkdirSync(directory, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', directory]);
    try {
      const holder = open({ leaseMs: 300 });
      const lease = await holder.acquire('held', { waitMs: 0 });
      const filler = join(directory, 'filler');
      expect(() => writeFileSync(filler, Buffer.alloc(1_000_000))).toThrow(/ENOSPC/);
      const ran = vi.fn<() => void>();
      await expect(open().run('job', ran)).rejects.toThrow(/ENOSPC/);
      expect(ran).not.toHaveBeenCalled();
      expect(readdirSync(directory).filter((name) => name.startsWith('job') || name.endsWith('.tmp'))).toEqual([]);
      // A renewal writes in place, so who holds a lock keeps it.
      const before = statSync(join(directory, 'held.1.lock')).mtimeMs;
      await vi.waitFor(() => expect(statSync(join(directory, 'held.1.lock')).mtimeMs).toBeGreaterThan(before), { timeout: 5_000 });
      lease.checkpoint();
      rmSync(filler);
      expect(await open().run('job', () => 'done')).toMatchObject({ value: 'done' });
      expect(await lease.release()).toBe(true);
      await Promise.all(solos.splice(0).map((solo) => solo.close()));
    } finally {
      execFileSync('umount', ['-l', directory]);
    }
  });
});

/** Only root may, and not in every container. Elsewhere the test is skipped, by name. */
function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return process.env['CI'] === 'true';
  const probe = mkdtempSync(join(tmpdir(), 'solorun-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return true;
  } catch {
    return process.env['CI'] === 'true';
  } finally {
    rmSync(probe, { recursive: true });
  }
}
