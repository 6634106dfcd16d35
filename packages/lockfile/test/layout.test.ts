import fs, {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createSolo, OptionError, type Solo } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockfile, type LocalLockOptions } from '../src/index.ts';
import { lockPath, startAtOne } from './places.ts';

let base: string;
let directory: string;
const solos: Solo[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'solorun-layout-'));
  directory = join(base, 'locks');
});
afterEach(async () => {
  await Promise.all(solos.splice(0).map((solo) => solo.close()));
  rmSync(base, { recursive: true, force: true });
});

function open(options: LocalLockOptions & { readonly leaseMs?: number } = {}): Solo {
  const { leaseMs = 60_000, ...rest } = options;
  const solo = createSolo({ provider: lockfile({ directory, ...rest }), leaseMs });
  if (!readdirSync(directory).some((name) => name.endsWith('.lock'))) startAtOne(directory);
  solos.push(solo);
  return solo;
}

const nothing = (): void => {};

/** Every call of these is a system call or two; a listing is more of them the more it lists. */
const CALLS = [
  ...(['openSync', 'closeSync', 'readSync', 'writeSync', 'fstatSync', 'lstatSync', 'readdirSync'] as const),
  ...(['linkSync', 'unlinkSync', 'renameSync', 'mkdirSync', 'lutimesSync'] as const),
];

interface Cost {
  calls: number;
  /** Names that listings have shown. */
  listed: number;
}

async function costOf(act: () => Promise<void>): Promise<Cost> {
  const cost = { calls: 0, listed: 0 };
  const spies = CALLS.map((name) => {
    const original = fs[name] as (...args: unknown[]) => unknown;
    return vi.spyOn(fs, name).mockImplementation((...args: unknown[]) => {
      const answer = original(...args);
      cost.calls += 1;
      if (name === 'readdirSync') cost.listed += (answer as unknown[]).length;
      return answer;
    });
  });
  syncBuiltinESMExports();
  try {
    await act();
  } finally {
    for (const spy of spies) spy.mockRestore();
    syncBuiltinESMExports();
  }
  return cost;
}

/** As if so many other names had been locked here. */
function useNames(count: number): void {
  for (let n = 0; n < count; n += 1) writeFileSync(lockPath(directory, `name-${n}.1.lock`), '');
}

it('costs as much to run under a name, known or new, where thousands of names have been locked as where few have', async () => {
  const RUNS = 50;
  // In memory, where that is: so many files in one go keep a disk busy, and other tests waiting.
  if (existsSync('/dev/shm')) {
    rmSync(base, { recursive: true });
    base = mkdtempSync('/dev/shm/solorun-layout-');
    directory = join(base, 'locks');
  }
  const solo = open();
  const known = Array.from({ length: RUNS }, (_, n) => `job-${n}`);
  const runAll = async (names: readonly string[]): Promise<void> => {
    for (const name of names) await solo.run(name, nothing);
  };
  // The first generations are made anew, the later ones of what was there.
  for (let n = 0; n < 3; n += 1) await runAll(known);
  const few = await costOf(() => runAll(known));
  expect(few.listed).toBeGreaterThan(RUNS);
  useNames(5_000);
  const many = await costOf(() => runAll(known));
  expect(many.calls).toBe(few.calls);
  // In one directory each listing would show 5,000 more.
  expect(many.listed / RUNS).toBeLessThan(few.listed / RUNS + 20);

  const rest = await costOf(async () => {
    await runAll(known.map((name) => `new-${name}`));
    await using lease = await solo.acquire('held', { waitMs: 0 });
    await solo.inspect('held');
    expect(await solo.tryAcquire('held')).toBeUndefined();
    lease.checkpoint();
  });
  expect(rest.listed).toBeLessThan(RUNS * 50);
});

describe('the sub-directories of a lock directory', () => {
  const folderOf = (name: string): string => dirname(lockPath(directory, `${name}.1.lock`));

  it('are found by the first digits of the SHA-256 of the name', async () => {
    await open().run('nightly-backup', nothing);
    // printf nightly-backup | sha256sum | cut -c1-3
    expect(existsSync(join(directory, '38b', 'nightly-backup.1.lock'))).toBe(true);
  });

  it('may be used by all users of the directory, whatever the umask', async () => {
    mkdirSync(directory);
    chmodSync(directory, 0o2770);
    const umask = process.umask(0o077);
    try {
      await open().run('job', nothing);
    } finally {
      process.umask(umask);
    }
    expect(statSync(folderOf('job')).mode & 0o7777).toBe(0o2770);
  });

  it('may be used by all users also if the process that made one was killed at that', async () => {
    mkdirSync(directory);
    chmodSync(directory, 0o2770);
    const killed = vi.spyOn(fs, 'chmodSync').mockImplementation(() => {
      throw new Error('killed');
    });
    syncBuiltinESMExports();
    const umask = process.umask(0o077);
    try {
      await expect(open().run('job', nothing)).rejects.toThrow('killed');
      killed.mockRestore();
      syncBuiltinESMExports();
      await open().run('job', nothing);
    } finally {
      process.umask(umask);
      killed.mockRestore();
      syncBuiltinESMExports();
    }
    expect(statSync(folderOf('job')).mode & 0o7777).toBe(0o2770);
  });

  it('are made once when another process makes the same one at that moment, and what is unfinished goes', async () => {
    const folder = folderOf('job');
    rmSync(folder, { recursive: true });
    const { renameSync: original } = fs;
    const rename = vi.spyOn(fs, 'renameSync').mockImplementationOnce((from, to) => {
      mkdirSync(folder, { mode: 0o700 });
      writeFileSync(join(folder, 'n2064.1.lock'), '');
      original(from, to);
    });
    syncBuiltinESMExports();
    try {
      await open().run('job', nothing);
    } finally {
      rename.mockRestore();
      syncBuiltinESMExports();
    }
    expect(readdirSync(folder).sort()).toEqual(['job.1.lock', 'n2064.1.lock']);
    const theFloors = basename(dirname(lockPath(directory, '~all.0.floor')));
    expect(readdirSync(directory).sort()).toEqual([basename(folder), theFloors].sort());
  });

  it('are refused when one is a symbolic link or a file, or when everybody may write to it', async () => {
    const solo = open();
    const [linked, file, writable] = ['linked', 'file', 'writable'].map((name) => {
      const folder = folderOf(name);
      rmSync(folder, { recursive: true });
      return folder;
    }) as [string, string, string];
    const elsewhere = join(base, 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, linked);
    await expect(solo.run('linked', nothing)).rejects.toThrow(/symbolic link: refused/);
    writeFileSync(file, '');
    await expect(solo.run('file', nothing)).rejects.toThrow(/not a directory: refused/);
    mkdirSync(writable);
    chmodSync(writable, 0o777);
    await expect(solo.run('writable', nothing)).rejects.toThrow(/written by everybody: refused/);
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it('may go while programs run: the holder is told, and the lock can be taken', async () => {
    const solo = open({ leaseMs: 1_500 });
    const lease = await solo.acquire('job', { waitMs: 0 });
    rmSync(folderOf('job'), { recursive: true });
    await vi.waitFor(() => expect(lease.signal.aborted).toBe(true), { timeout: 5_000 });
    expect(await open().run('job', () => 'ran')).toMatchObject({ value: 'ran' });
  });

  it('are watched anew when they have gone and come again', async () => {
    const [holder, waiter] = [open({ crashDetection: 'never' }), open({ crashDetection: 'never' })];
    // Time for its watch to open, which nothing tells. By the clock alone it would look after 5 s.
    const waits = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100));
    const lost = await holder.acquire('job', { waitMs: 0 });
    const first = waiter.acquire('job', { waitMs: 4_000 });
    await waits();
    rmSync(folderOf('job'), { recursive: true });
    await (await first).release();
    const held = await holder.acquire('job', { waitMs: 0 });
    const second = waiter.acquire('job', { waitMs: 4_000 });
    await waits();
    await held.release();
    expect((await second).fence).toBe(3n);
    await lost.release();
  });
});

describe('lock files of the layout before', () => {
  it('are refused with the remedy, and left alone', () => {
    mkdirSync(directory, { mode: 0o700 });
    const old = join(directory, 'nightly-backup.7.lock');
    writeFileSync(old, 'old');
    expect(() => open()).toThrow(OptionError);
    expect(() => open()).toThrow(/holds nightly-backup\.7\.lock.*older version.*stop all programs/);
    expect(readdirSync(directory)).toEqual(['nightly-backup.7.lock']);
    renameSync(old, join(base, 'moved'));
    open();
  });

  it('are what lockfile.beside still makes', async () => {
    mkdirSync(directory);
    const solo = createSolo({ provider: lockfile.beside(join(directory, 'data.json')) });
    solos.push(solo);
    await solo.run('it', nothing);
    expect(
      readdirSync(directory)
        .map((name) => name.replace(/[0-9]+/, 'N'))
        .sort(),
    ).toEqual(['data.json.N.floor', 'data.json.N.lock']);
  });
});
