import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { postgresMissing } from '@solorun/servers/postgres';

const program = fileURLToPath(new URL('programs/leave.js', import.meta.url));
let directory: string;

beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'solorun-left-')));
  // The servers' user goes through it.
  spawnSync('chmod', ['755', directory]);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** The processes that have to do with the directory, by what the whole machine runs. */
function running(): string[] {
  const { stdout } = spawnSync('ps', ['-A', '-ww', '-o', 'args='], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line.includes(directory));
}

const left = (): string[] => readdirSync(directory).filter((name) => !name.startsWith('solorun-servers-'));

function namespaces(): string {
  const { error, stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  return error === undefined ? stdout : '';
}

/** Starts the program, and waits until it has told what it started. */
async function leaving(how: string): Promise<{ child: ChildProcess; over: Promise<unknown>; namespace: string }> {
  const child = spawn(process.execPath, [program, how], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: directory },
  });
  const over = once(child, 'exit');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const { namespace = 'none' } = JSON.parse(line) as { namespace?: string };
  return { child, over, namespace };
}

describe.runIf(postgresMissing() === undefined || process.env['CI'] === 'true')('what a program started and did not stop', () => {
  it('is gone when it has ended', { timeout: 60_000 }, async () => {
    const { over, namespace } = await leaving('exit');
    expect(await over).toEqual([0, null]);
    expect(left()).toEqual([]);
    expect(namespaces()).not.toContain(namespace);
    await vi.waitFor(() => expect(running()).toEqual([]), { timeout: 15_000 });
  });

  it.each(['running', 'frozen'])('goes when it is killed, even what is %s', { timeout: 60_000 }, async (how) => {
    const { child, namespace } = await leaving(how);
    expect(left().length).toBeGreaterThanOrEqual(2);
    expect(running().length).toBeGreaterThanOrEqual(2);
    child.kill('SIGKILL');
    await vi.waitFor(() => expect([left(), running()]).toEqual([[], []]), { timeout: 15_000, interval: 20 });
    await vi.waitFor(() => expect(namespaces()).not.toContain(namespace), { timeout: 15_000 });
  });
});
