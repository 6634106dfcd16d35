import { beforeEach, expect, it, vi } from 'vitest';
import { parseInfo } from '../src/server.ts';

/*
 * Mocks, because the kernel gives no way to ask for an inode that was used before: what it says of this process is made up.
 */
const kernel = vi.hoisted(() => ({ of: {} as Record<string, string | undefined> }));

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const read = (path: string): string => {
    const text = kernel.of[path];
    if (text === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return text;
  };
  return { ...fs, readFileSync: read, readlinkSync: read };
});

const BOOT = '/proc/sys/kernel/random/boot_id';
const OWN = '/proc/self/ns/time';
const CHILDREN = '/proc/self/ns/time_for_children';
const OFFSETS = '/proc/self/timens_offsets';

beforeEach(() => {
  kernel.of = {
    [BOOT]: '0b0ae5b0-0000-4000-8000-000000000000\n',
    [OWN]: 'time:[4026532176]',
    [CHILDREN]: 'time:[4026532176]',
    [OFFSETS]: 'monotonic           0         0\nboottime            0         0\n',
  };
});

/** How a process that has just been started names the machine whose clock it shares; empty: not at all. */
async function machineWhere(told: Record<string, string | undefined> = {}): Promise<string> {
  Object.assign(kernel.of, told);
  vi.resetModules();
  const { observe } = await import('../src/settling.ts');
  let name: string | undefined;
  await observe(parseInfo('run_id:1'), async ([, , , machine]) => {
    name = machine;
    return 0;
  });
  if (name === undefined) throw new Error('nothing was handed on');
  return name;
}

it('is the same for processes of one boot and one time namespace', async () => {
  const name = await machineWhere();
  expect(name).toMatch(/^machine [0-9a-f]{16}$/);
  expect(await machineWhere()).toBe(name);
});

it('is another one after a boot, in another time namespace, and in one that has got the inode of one that is gone', async () => {
  const names = [
    await machineWhere(),
    await machineWhere({ [OFFSETS]: 'monotonic      100000         0\nboottime            0         0\n' }),
    await machineWhere({ [OWN]: 'time:[4026532177]', [CHILDREN]: 'time:[4026532177]' }),
    await machineWhere({ [BOOT]: '1b0ae5b0-0000-4000-8000-000000000000\n' }),
  ];
  expect(new Set(names).size).toBe(4);
  expect(names).not.toContain('');
});

it('is told by the boot alone on kernels without time namespaces', async () => {
  expect(await machineWhere({ [OWN]: undefined, [CHILDREN]: undefined, [OFFSETS]: undefined })).toMatch(/^machine /);
});

it('is not told where the offsets are those of another namespace, or nothing is known', async () => {
  expect(await machineWhere({ [CHILDREN]: 'time:[4026532178]' })).toBe('');
  expect(await machineWhere({ [BOOT]: undefined, [CHILDREN]: 'time:[4026532176]' })).toBe('');
});
