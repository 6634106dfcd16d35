import { execFileSync } from 'node:child_process';
import fs, {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSolo, LockTimeoutError, OptionError, ProviderError, type JobRecord, type Solo } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockfile, type LocalLockOptions } from '../src/index.ts';
import { localStore } from '../src/stores/local.ts';
import { filesBelow, lockPath, startAtOne } from './places.ts';

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
  startAtOne(directory);
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

  it.runIf(process.platform === 'linux')('is refused when nothing can be written there', () => {
    // Also by root, and however it is mounted.
    for (const unwritable of process.getuid?.() === 0 ? ['/sys'] : ['/sys', '/etc']) {
      expect(() => lockfile({ directory: unwritable })).toThrow(OptionError);
      expect(() => lockfile({ directory: unwritable })).toThrow(
        /Nothing can be written into the lock directory \/\w+: (?:EACCES|EPERM|EROFS)/,
      );
    }
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
    expect(filesBelow(directory)).toEqual(['job.10.lock', 'job.9.lock']);
  });

  it('passes over files that are not ours', async () => {
    const solo = open();
    for (const file of ['job.lock', 'job.01.lock', 'job.x.lock', 'job.7.lock.bak', 'README'])
      for (const path of [join(directory, file), lockPath(directory, file)]) writeFileSync(path, 'x');
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ status: 'ran', value: 1n });
    const names: string[] = [];
    for await (const { name } of solo.list()) names.push(name);
    expect(names).toEqual(['job']);
  });

  it('lists a lock as it is now that has changed hands since the directory was read', async () => {
    const solo = open();
    const listed = ['a', 'b', 'c'];
    for (const name of listed) await solo.run(name, nothing);
    const fences = new Map<string, bigint>();
    for await (const { name, fence } of solo.list()) {
      fences.set(name, fence);
      if (fences.size > 1) continue;
      for (const each of listed) for (let run = 0; run < 3; run += 1) await solo.run(each, nothing);
    }
    expect([...fences.keys()].sort()).toEqual(listed);
    expect([...fences.values()].map(String).sort()).toEqual(['1', '4', '4']);
  });

  it.runIf(process.platform === 'linux')('is opened without a file that stays open', async () => {
    await open().close();
    const openFiles = (): number => readdirSync('/proc/self/fd').length;
    const before = openFiles();
    await Promise.all(Array.from({ length: 5 }, () => open().close()));
    expect(openFiles()).toBe(before);
  });

  it('loses temporary files and directories that a crash left behind long ago', async () => {
    mkdirSync(directory, { mode: 0o700 });
    const old = join(directory, '.solorun-0b0ae5b0-0000-4000-8000-000000000000.tmp');
    const recent = join(directory, '.solorun-1b0ae5b0-0000-4000-8000-000000000000.tmp');
    const unfinished = join(directory, '.solorun-2b0ae5b0-0000-4000-8000-000000000000.tmp');
    for (const file of [old, recent]) writeFileSync(file, 'x');
    mkdirSync(unfinished);
    for (const path of [old, unfinished]) utimesSync(path, new Date(), new Date(Date.now() - 2 * 3_600_000));
    await open().run('job', nothing);
    expect([old, recent, unfinished].map((path) => existsSync(path))).toEqual([false, true, false]);
  });
});

describe('a lock file', () => {
  it('can be read by a person while it is held, and afterwards', async () => {
    const solo = createSolo({ provider: lockfile({ directory }), label: 'worker-3' });
    startAtOne(directory);
    solos.push(solo);
    const occurrence = new Date('2026-01-02T03:00:00Z');
    await solo.run(
      'nightly-report',
      () => {
        const text = readFileSync(lockPath(directory, 'nightly-report.1.lock'), 'utf8');
        expect(text).toContain('"state": "held"');
        expect(text).toContain('"label": "worker-3"');
        expect(text).toContain('"at": "2026-01-02T03:00:00.000Z"');
        expect(text.split('\n').length).toBeGreaterThan(10);
      },
      { occurrence },
    );
    expect(readFileSync(lockPath(directory, 'nightly-report.1.lock'), 'utf8')).toContain('"state": "done"');
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
    expect(filesBelow(directory)).toHaveLength(names.length);
    for (const file of filesBelow(directory)) expect(file).toMatch(/^[a-z0-9_~-]+\.1\.lock$/);
  });

  it('is refused when a symbolic link stands in its place, which is not followed', async () => {
    const solo = open();
    const victim = join(base, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, lockPath(directory, 'job.1.lock'));
    await expect(solo.run('job', nothing)).rejects.toThrow(/symbolic link/);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
  });

  it('is refused when a named pipe or something huge stands in its place, without waiting for it', async () => {
    const solo = open();
    execFileSync('mkfifo', [lockPath(directory, 'pipe.1.lock')]);
    await expect(solo.run('pipe', nothing)).rejects.toThrow(/not a regular file/);
    writeFileSync(lockPath(directory, 'huge.1.lock'), '');
    truncateSync(lockPath(directory, 'huge.1.lock'), 1e9);
    await expect(solo.run('huge', nothing)).rejects.toThrow(/too large/);
  });

  it('of a newer version is refused with the remedy', async () => {
    const solo = open();
    writeFileSync(lockPath(directory, 'job.1.lock'), JSON.stringify({ solorun: 2, name: 'job' }));
    await expect(solo.run('job', nothing)).rejects.toThrow(/newer Solorun.*upgrade/);
  });

  it('that a crash of the machine emptied counts as held for a minute, then its predecessor counts', async () => {
    const solo = open();
    const occurrence = new Date('2026-01-02T03:00:00Z');
    await solo.run('job', nothing, { occurrence });
    const empty = lockPath(directory, 'job.2.lock');
    writeFileSync(empty, '');
    expect(await solo.run('job', nothing)).toMatchObject({ status: 'skipped', reason: 'held' });
    utimesSync(empty, new Date(), new Date(Date.now() - 61_000));
    expect(await solo.run('job', nothing, { occurrence })).toMatchObject({ status: 'skipped', reason: 'done' });
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ value: 3n });
  });

  it('is renewed in place: its content stays, its modification time moves', async () => {
    const solo = open({ leaseMs: 300 });
    await using lease = await solo.acquire('job', { waitMs: 0 });
    const path = lockPath(directory, 'job.1.lock');
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
    rmSync(lockPath(directory, 'job.1.lock'));
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

describe('a lock whose files somebody meddles with', () => {
  it('has one trusted holder after its highest file was deleted and taken anew in the same process', async () => {
    const solo = open({ leaseMs: 400 });
    const old = await solo.acquire('job', { waitMs: 0 });
    rmSync(lockPath(directory, 'job.1.lock'));
    const fresh = await solo.acquire('job', { waitMs: 0 });
    await vi.waitFor(() => expect(old.signal.aborted).toBe(true), { timeout: 5_000 });
    expect(await old.release()).toBe(false);
    fresh.checkpoint();
    expect(await open().tryAcquire('job')).toBeUndefined();
    expect(await fresh.release()).toBe(true);
  });

  it('tells also the holder of a lease without end that an operator released it', async () => {
    const provider = lockfile({ directory });
    startAtOne(directory);
    const solo = createSolo({ provider, leaseMs: null });
    solos.push(solo);
    const lease = await solo.acquire('job', { waitMs: 0 });
    const { name, owner, fence } = (await solo.inspect('job'))!;
    const outcome = { result: 'failed', error: 'released by an operator' } as const;
    const operator = lockfile({ directory });
    expect(await operator.release({ name, owner, fence, attempt: 1 }, outcome, new AbortController().signal)).toBe(true);
    await operator.close();
    expect((await open().tryAcquire('job'))?.fence).toBe(2n);
    expect(await provider.renew(lease.grant, new AbortController().signal)).toBe(false);
  });

  it('stays held while the kernel knows its holder, though its record was cut short', async () => {
    const solo = open();
    const held = await solo.acquire('job', { waitMs: 0 });
    const path = lockPath(directory, 'job.1.lock');
    truncateSync(path, 40);
    utimesSync(path, new Date(), new Date(Date.now() - 61_000));
    expect(await open().tryAcquire('job')).toBeUndefined();
    await held.release();
  });

  it('comes free although the clock was set back by an hour after its holder had died elsewhere', async () => {
    const dying = lockfile({ directory, crashDetection: 'never' });
    startAtOne(directory);
    const grant = { name: 'job', owner: 'gone', leaseMs: 200, holder: { host: 'elsewhere', pid: 1 } };
    await dying.tryAcquire(grant, new AbortController().signal);
    utimesSync(lockPath(directory, 'job.1.lock'), new Date(), new Date(Date.now() + 3_600_000));
    expect((await open().acquire('job', { waitMs: 15_000 })).fence).toBe(2n);
    await dying.close();
  });

  it('wakes who waits when it is released in place, under whichever name it was opened', async () => {
    const [holder, waiter] = [open({ crashDetection: 'never' }), open({ crashDetection: 'never' })];
    // The first generations are made anew, the later ones of what the holder used before.
    for (let n = 0; n < 6; n += 1) {
      await holder.run('job', nothing);
      await holder.run('job', nothing);
      const lease = await holder.acquire('job', { waitMs: 0 });
      // By the clock alone it would look after 5 s.
      const waiting = waiter.acquire('job', { waitMs: 3_000 });
      await new Promise((resolve) => setTimeout(resolve, 30));
      await lease.release();
      const next = await waiting;
      expect(next.fence).toBe(lease.fence + 1n);
      await next.release();
    }
  });

  it('uses up no file but its own', async () => {
    const solo = open();
    for (let n = 0; n < 3; n += 1) await solo.run('job', nothing);
    // Somebody has put a file of his own into the place of the one below, which would be used up next.
    const path = lockPath(directory, 'job.2.lock');
    renameSync(path, join(base, 'moved'));
    writeFileSync(path, 'precious');
    linkSync(path, join(base, 'elsewhere'));
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ value: 4n });
    expect(readFileSync(join(base, 'elsewhere'), 'utf8')).toBe('precious');
    // And a file of ours that has another name too, as a backup by links gives it one, keeps its content.
    linkSync(lockPath(directory, 'job.3.lock'), join(base, 'backup'));
    expect(await solo.run('job', ({ fence }) => fence)).toMatchObject({ value: 5n });
    expect(readFileSync(join(base, 'backup'), 'utf8')).toContain('"state": "released"');
    expect(filesBelow(directory)).toEqual(['job.4.lock', 'job.5.lock']);
  });

  it('does not go by what it remembers when the directory was emptied and has grown anew', async () => {
    const solo = open();
    await solo.run('job', nothing);
    rmSync(lockPath(directory, 'job.1.lock'));
    await using lease = await open().acquire('job', { waitMs: 0 });
    expect(lease.fence).toBe(1n);
    expect(await solo.tryAcquire('job')).toBeUndefined();
  });

  it('does not fill up with open files when its leases are lost', async () => {
    const solo = open({ leaseMs: 300 });
    const openFiles = (): number => readdirSync('/proc/self/fd').length;
    const before = openFiles();
    const leases = await Promise.all(Array.from({ length: 20 }, (_, n) => solo.acquire(`job-${n}`, { waitMs: 0 })));
    for (let n = 0; n < 20; n += 1) rmSync(lockPath(directory, `job-${n}.1.lock`));
    await vi.waitFor(() => expect(leases.every(({ signal }) => signal.aborted)).toBe(true), { timeout: 5_000 });
    expect(openFiles()).toBeLessThan(before + 5);
  });

  it('keeps an occurrence on the disk through runs that have none', async () => {
    const sync = vi.spyOn(fs, 'fsync');
    syncBuiltinESMExports();
    try {
      const solo = open();
      await solo.run('job', nothing);
      expect(sync).not.toHaveBeenCalled();
      await solo.run('job', nothing, { occurrence: new Date('2026-01-02T03:00:00Z') });
      const flushed = sync.mock.calls.length;
      expect(flushed).toBeGreaterThan(0);
      const lease = await solo.acquire('job', { waitMs: 0 });
      const flushedAgain = sync.mock.calls.length;
      expect(flushedAgain).toBeGreaterThan(flushed);
      await lease.release();
      expect(sync.mock.calls.length).toBeGreaterThan(flushedAgain);
    } finally {
      sync.mockRestore();
      syncBuiltinESMExports();
    }
  });
});

describe('onStale', () => {
  it('is asked no more than about once a second by whoever waits', async () => {
    const holder = open({ leaseMs: 100, crashDetection: 'never' });
    let asked = 0;
    const taker = open({
      onStale: () => {
        asked += 1;
        return false;
      },
    });
    const stale = { name: 'job', owner: 'gone', leaseMs: 100, holder: { host: 'elsewhere', pid: 1 } };
    const gone = lockfile({ directory, crashDetection: 'never' });
    await gone.tryAcquire(stale, new AbortController().signal);
    await expect(taker.acquire('job', { waitMs: 2_500 })).rejects.toThrow(LockTimeoutError);
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(6);
    await gone.close();
    await holder.close();
  });

  it('may veto a takeover, and is asked again at the next try', async () => {
    const seen: JobRecord[] = [];
    let allowed = false;
    const gone = lockfile({ directory, crashDetection: 'never' });
    startAtOne(directory);
    const taker = open({
      onStale: (record) => {
        seen.push(record);
        return allowed;
      },
    });
    // As after a crash: it is neither released nor renewed any more.
    const grant = { name: 'job', owner: 'gone', leaseMs: 100, holder: { host: 'elsewhere', pid: 1 } };
    await gone.tryAcquire(grant, new AbortController().signal);
    await vi.waitUntil(async () => (await taker.tryAcquire('job')) === undefined && seen.length > 0, { timeout: 5_000 });
    expect(seen[0]).toMatchObject({ name: 'job', fence: 1n, held: false });
    expect(await taker.tryAcquire('job')).toBeUndefined();
    allowed = true;
    expect((await taker.tryAcquire('job'))?.fence).toBe(2n);
    await gone.close();
  });

  it('is not asked about a holder that has just released', async () => {
    const asked = vi.fn<() => boolean>(() => false);
    const [a, b] = [open({ onStale: asked }), open({ onStale: asked })];
    for (let n = 0; n < 200; n += 1) await Promise.all([a.run('job', nothing), b.run('job', nothing)]);
    expect(asked).not.toHaveBeenCalled();
  });
});

describe('lockfile.beside', () => {
  it('leaves alone what is not its own, however old', async () => {
    const notes = join(base, '.my-notes.tmp');
    mkdirSync(join(base, '.cache.tmp'));
    writeFileSync(notes, 'precious');
    utimesSync(notes, new Date(), new Date(Date.now() - 86_400_000));
    const solo = createSolo({ provider: lockfile.beside(join(base, 'data.json')) });
    solos.push(solo);
    await solo.run('it', nothing);
    const [own, ...others] = readdirSync(base).sort().toReversed();
    expect(others).toContain('.my-notes.tmp');
    expect(own).toMatch(/^data\.json\.[0-9]+\.lock$/);
    expect(others.sort()).toEqual(['.cache.tmp', '.my-notes.tmp', expect.stringMatching(/^data\.json\.[0-9]+\.floor$/)]);
  });

  it('is one lock for a link and its target, also before the target exists', async () => {
    mkdirSync(join(base, 'shared'));
    symlinkSync('shared/data.json', join(base, 'data.json'));
    const linked = createSolo({ provider: lockfile.beside(join(base, 'data.json')) });
    const direct = createSolo({ provider: lockfile.beside(join(base, 'shared/data.json')) });
    solos.push(linked, direct);
    const held = await linked.acquire('it', { waitMs: 0 });
    expect(await direct.tryAcquire('it')).toBeUndefined();
    await held.release();
  });

  it('locks the file itself: by any path to it and under any name', async () => {
    const file = join(base, 'accounts.json');
    writeFileSync(file, '{}');
    symlinkSync(file, join(base, 'link.json'));
    const direct = createSolo({ provider: lockfile.beside(file) });
    const linked = createSolo({ provider: lockfile.beside(join(base, 'link.json')) });
    solos.push(direct, linked);
    await using lease = await direct.acquire('rewrite', { waitMs: 0 });
    expect(await linked.tryAcquire('something else')).toBeUndefined();
    const floor = expect.stringMatching(/^accounts\.json\.[0-9]+\.floor$/);
    expect(readdirSync(base).sort()).toEqual(['accounts.json', floor, `accounts.json.${lease.fence}.lock`, 'link.json']);
    expect(readFileSync(file, 'utf8')).toBe('{}');
  });

  it('keeps apart files whose names begin alike, and locks one that does not exist yet', async () => {
    const one = createSolo({ provider: lockfile.beside(join(base, 'report')) });
    const two = createSolo({ provider: lockfile.beside(join(base, 'report.csv')) });
    const long = createSolo({ provider: lockfile.beside(join(base, 'n'.repeat(255))) });
    solos.push(one, two, long);
    for (const solo of [one, two, long]) expect(await solo.tryAcquire('it')).toBeDefined();
  });

  it('needs the directory of the file', () => {
    expect(() => lockfile.beside(join(base, 'missing', 'file'))).toThrow(/There is no directory/);
    expect(() => lockfile.beside('')).toThrow(OptionError);
  });
});

describe('a full disk', () => {
  const mounts = canMount();
  if (!mounts) process.stderr.write('SKIPPED: a full disk. Remedy: run as root, where tmpfs can be mounted\n');
  it.runIf(mounts || process.env['CI'] === 'true')('is no reason not to start: a program goes on when there is room', async () => {
    mkdirSync(directory, { mode: 0o700 });
    // The root takes one of them.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=3,mode=700', 'tmpfs', directory]);
    try {
      const fillers = ['a', 'b', 'c'].map((name) => join(directory, name));
      expect(() => fillers.forEach((filler) => writeFileSync(filler, ''))).toThrow(/ENOSPC/);
      const solo = createSolo({ provider: lockfile({ directory }) });
      solos.push(solo);
      await expect(solo.run('job', () => {})).rejects.toThrow(/ENOSPC/);
      const waiting = solo.run('job', () => 'done', { onOutage: 'retry', outageMs: 60_000 });
      const lockedOn = (): string | undefined => {
        const store = localStore({ directory, own: true, allowNetworkFileSystem: false, kernelLocks: true });
        void store.close();
        return store.proof.lockedOn;
      };
      const whenFull = lockedOn();
      execFileSync('mount', ['-o', 'remount,nr_inodes=100', directory]);
      expect(await waiting).toMatchObject({ value: 'done' });
      // The crash of a holder is seen by the same lock.
      expect(whenFull).toBe(lockedOn());
      await Promise.all(solos.splice(0).map((each) => each.close()));
    } finally {
      execFileSync('umount', ['-l', directory]);
    }
  });

  it.runIf(mounts || process.env['CI'] === 'true')('starts nothing, says so, and works again when there is room', async () => {
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
      expect(filesBelow(directory).filter((name) => name.startsWith('job') || name.endsWith('.tmp'))).toEqual([]);
      // A renewal writes in place, so who holds a lock keeps it.
      const before = statSync(lockPath(directory, 'held.1.lock')).mtimeMs;
      await vi.waitFor(() => expect(statSync(lockPath(directory, 'held.1.lock')).mtimeMs).toBeGreaterThan(before), {
        timeout: 5_000,
      });
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

/** Only root may, and not in every container. */
function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const probe = mkdtempSync(join(tmpdir(), 'solorun-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true });
  }
}
