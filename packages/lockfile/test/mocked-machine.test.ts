import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSolo } from '@solorun/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockfile } from '../src/index.ts';
import { startAtOne } from './places.ts';

/*
 * Mocks, because there is no network file system here, and the addon is there: what the machine says of itself is made up.
 */
const machine = vi.hoisted(() => ({ fileSystem: 0, addon: true, mostWritten: Number.POSITIVE_INFINITY }));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const statfsSync = (path: string): unknown =>
    Object.assign(fs.statfsSync(path), machine.fileSystem === 0 ? {} : { type: machine.fileSystem });
  const writeSync = (fd: number, data: Buffer | string, offset = 0, length = 0, position = 0): number =>
    typeof data === 'string'
      ? fs.writeSync(fd, data, offset)
      : fs.writeSync(fd, data, offset, Math.min(machine.mostWritten, length), position);
  return { ...fs, statfsSync, writeSync };
});
vi.mock('node:module', async (original) => {
  const module = await original<typeof import('node:module')>();
  const createRequire = (url: string): unknown => {
    if (machine.addon) return module.createRequire(url);
    return () => {
      throw new Error('no prebuilt addon for this platform');
    };
  };
  return Object.assign({}, module, { createRequire });
});

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-machine-'));
  machine.fileSystem = 0;
  machine.addon = true;
  machine.mostWritten = Number.POSITIVE_INFINITY;
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('a network file system', () => {
  it.each([
    ['NFS', 0x6969],
    ['SMB', 0xfe534d42],
    ['CIFS, as a negative number', 0xff534d42 | 0],
  ])('is refused when it is %s, unless its user vouches for it', (_, type) => {
    machine.fileSystem = type;
    expect(() => lockfile({ directory })).toThrow(/network file system/);
    expect(() => lockfile.beside(join(directory, 'file'))).toThrow(/network file system/);
    expect(lockfile({ directory, allowNetworkFileSystem: true }).guarantees.reach).toBe('fleet');
  });
});

describe('a disk that takes a part of what is written', () => {
  it('gets the rest as well: no record is ever cut short', async () => {
    machine.mostWritten = 100;
    startAtOne(directory);
    const solo = createSolo({ provider: lockfile({ directory }) });
    await solo.run('job', async () => {
      expect(await solo.inspect('job')).toMatchObject({ held: true, fence: 1n });
    });
    expect(await solo.inspect('job')).toMatchObject({ held: false, fence: 1n });
    await solo.close();
  });
});

describe('a platform for which the addon is not built', () => {
  it('has locks all the same, says so, and tells deaths by the process table', async () => {
    machine.addon = false;
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const provider = lockfile({ directory });
    expect(warned).toHaveBeenCalledWith(expect.stringContaining('No kernel locks'), { code: 'SOLORUN_NO_KERNEL_LOCKS' });
    warned.mockRestore();
    expect(provider.guarantees.crash).toBe('same host at once');
    const solo = createSolo({ provider });
    expect(await solo.run('job', () => 'ran')).toMatchObject({ status: 'ran' });
    await solo.close();
  });
});
