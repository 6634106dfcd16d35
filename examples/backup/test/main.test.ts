import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const program = fileURLToPath(new URL('../src/main.js', import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function main(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { env: { ...process.env, ...env } }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

it('backs up each tick once while replicas are killed and frozen, and leaves nothing behind', { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'solorun-example-'));
  const { status, stdout, stderr } = await main(['--seconds', '14'], { TMPDIR: directory });
  expect(stdout).toContain('duplicates 0');
  expect(stdout).toContain('overlaps 0');
  expect(stdout).toMatch(/recovered [1-9]/);
  expect(stdout).toContain('is killed (SIGKILL) in the middle of a backup');
  expect(stdout).toContain('finds its lease lost and stops');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(readdirSync(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

it('explains itself', async () => {
  const { status, stdout } = await main(['--help']);
  expect(status).toBe(0);
  for (const option of ['--replicas', '--seconds', '--store', '--keep']) expect(stdout).toContain(option);
});

it.each([
  [['--store', 'postgres://localhost/app'], 'The store "postgres://localhost/app" is not known. What there is: file:DIR'],
  [['--store', 'file:'], 'needs a directory'],
  [['--replicas', '1'], '--replicas is a whole number from 2 to 7, not 1.'],
  [['--seconds', 'ten'], '--seconds is a whole number from 10 to 600, not ten.'],
  [['--replica', '3'], "Unknown option '--replica'"],
])('refuses %j', async (args, message) => {
  const { status, stdout, stderr } = await main(args);
  expect(status).toBe(64);
  expect(stderr).toContain(message);
  expect(stdout).toBe('');
});
