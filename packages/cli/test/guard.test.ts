import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ends, gone, isAlive, newDirectory, newStore, solorun, wardenOf, type Running } from './cli.ts';

const SLEEP = 'while :; do sleep 60; done';

function installed(program: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((directory) => join(directory, program))
    .find((path) => existsSync(path));
}

/** Of util-linux 2.33 or later. */
const hasSetpriv = installed('setpriv') !== undefined && readFileSync(installed('setpriv')!).includes('pdeathsig');
const hasXargs = installed('xargs') !== undefined && installed('kill') !== undefined;
const inCi = process.env['CI'] === 'true';

/** A directory that has these programs alone, as a PATH. */
function only(...programs: readonly string[]): string {
  const directory = newDirectory();
  mkdirSync(directory);
  for (const program of programs) symlinkSync(installed(program)!, join(directory, program));
  return directory;
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly comm: string;
  readonly executable: string;
}

/** All that descend from a process of the test, and that one. Nothing else on this machine is ever signalled. */
function treeOf(root: number): readonly Process[] {
  const all = readdirSync('/proc').flatMap((entry) => (/^\d+$/.test(entry) ? (read(entry) ?? []) : []));
  const found = all.filter(({ pid }) => pid === root);
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid));
  return found;
}

function read(entry: string): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const comm = readFileSync(`/proc/${entry}/comm`, 'latin1').trim();
    return { pid: Number(entry), parent: Number(parent), comm, executable: readlinkSync(`/proc/${entry}/exe`) };
  } catch (error) {
    // It has ended since it was listed, or is another user's.
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code!)) return undefined;
    throw error;
  }
}

/** As `pkill node; pkill solorun`. */
const byName = ({ comm }: Process): boolean => /node|solorun/.test(comm);
/** As `killall /usr/bin/node`, which takes the warden for what it is. */
const byProgram = ({ executable }: Process): boolean => executable === readlinkSync(`/proc/self/exe`);

/** Sends a signal to all of a run that are meant, so that none of them can act in between. */
function hit({ pid: root }: Running, signal: NodeJS.Signals, meant: (process: Process) => boolean): readonly Process[] {
  const those = treeOf(root).filter(meant);
  for (const { pid } of those) process.kill(pid, 'SIGSTOP');
  for (const { pid } of those) process.kill(pid, signal);
  return those;
}

/** A run whose warden has its name. */
async function started(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const running = solorun(args, { env });
  const warden = await wardenOf(running.pid);
  await expect.poll(() => read(String(warden))?.comm, { timeout: 10_000 }).toBe('lock-warden');
  return running;
}

describe.skipIf(process.platform !== 'linux')('when solorun is hit together with whatever has its name, or that of Node.js', () => {
  it('SIGKILL ends the command and all that it started', async () => {
    const store = newStore();
    const program = `echo command $$; setsid sh -c 'echo daemon $$; ${SLEEP}' & ${SLEEP}`;
    const running = await started(['run', 'x', '--store', store, '--', 'sh', '-c', program]);
    const [, command] = await running.prints(/command (\d+)/);
    const [, daemon] = await running.prints(/daemon (\d+)/);
    expect(hit(running, 'SIGKILL', byName).map(({ pid }) => pid)).toEqual([running.pid]);
    await Promise.all([gone(Number(command)), gone(Number(daemon))]);
    expect(await ends(['run', 'x', '--store', store, '--wait', '1m', '--', 'echo', 'next'])).toMatchObject({ stdout: 'next\n' });
  });

  it('SIGSTOP: the command is gone before anybody else can run it', async () => {
    const terms = ['--store', newStore(), '--lease', '4s', '--grace', '100ms'];
    const stopped = await started(['run', 'x', ...terms, '--', 'sh', '-c', `trap '' TERM; echo pid $$; ${SLEEP}`]);
    const [, pid] = await stopped.prints(/pid (\d+)/);
    hit(stopped, 'SIGSTOP', byName);
    const look = `grep -E '^State:.*[^ZX] ' /proc/${pid}/status; echo end`;
    const next = await ends(['run', 'x', ...terms, '--wait', '1m', '--', 'sh', '-c', look]);
    expect(next).toMatchObject({ status: 0, stdout: 'end\n' });
    stopped.kill('SIGCONT');
    expect(await stopped.ended).toMatchObject({ status: 76 });
  });
});

describe.skipIf(process.platform !== 'linux')('when solorun and its warden are killed in one moment', () => {
  const program = `echo command $$; sh -c 'echo child $$; ${SLEEP}' & ${SLEEP}`;

  it.skipIf(!hasXargs && !inCi)(
    `the command and its process group are ended${hasXargs ? '' : ' (SKIPPED: there is no xargs or kill)'}`,
    async () => {
      const store = newStore();
      const running = await started(['run', 'x', '--store', store, '--', 'sh', '-c', program], {
        PATH: only('sh', 'sleep', 'xargs', 'kill'),
      });
      const [, command] = await running.prints(/command (\d+)/);
      const [, child] = await running.prints(/child (\d+)/);
      expect(hit(running, 'SIGKILL', byProgram)).toHaveLength(2);
      await Promise.all([gone(Number(command)), gone(Number(child))]);
      expect(await ends(['run', 'x', '--store', store, '--wait', '1m', '--', 'echo', 'next'])).toMatchObject({ stdout: 'next\n' });
    },
  );

  it.skipIf(!hasSetpriv && !inCi)(
    `the command is ended by the kernel where there is no kill(1)${hasSetpriv ? '' : ' (SKIPPED: there is no setpriv that can)'}`,
    async () => {
      const running = await started(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], {
        PATH: only('sh', 'sleep', 'setpriv'),
      });
      const [, command] = await running.prints(/command (\d+)/);
      const [, child] = await running.prints(/child (\d+)/);
      expect(hit(running, 'SIGKILL', byProgram)).toHaveLength(2);
      await gone(Number(command));
      // Which is what remains to be said in docs/cli.md.
      expect(isAlive(Number(child))).toBe(true);
      process.kill(-Number(command), 'SIGKILL');
    },
  );
});

describe.skipIf(process.platform !== 'linux')('what guards a command does not change it', () => {
  const withAll = only(...['sh', 'sleep', 'setpriv', 'xargs', 'kill', 'ps'].filter(installed));

  it.each([
    ['all there is', withAll],
    ['nothing', only('sh', 'sleep')],
  ])('its status is its own with %s', async (_, PATH) => {
    const directory = newDirectory();
    mkdirSync(directory);
    // Without a #! it is the shell's.
    const files = { bare: 'exit 3\n', lost: '#!/no/such/interpreter\n' };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o755 });
    const run = (...command: readonly string[]): Promise<{ status: number | string }> =>
      ends(['run', 'x', '--store', newStore(), '--', ...command], { env: { PATH } });
    const [own, killed, bare, lost, missing] = await Promise.all([
      run('sh', '-c', 'exit 7'),
      run('sh', '-c', 'kill -SEGV $$'),
      run(join(directory, 'bare')),
      run(join(directory, 'lost')),
      run('no-such-command'),
    ]);
    expect(own).toEqual({ status: 7, stdout: '', stderr: '' });
    expect(killed).toEqual({ status: 139, stdout: '', stderr: '' });
    expect(bare).toEqual({ status: 3, stdout: '', stderr: '' });
    expect(lost).toMatchObject({ status: 127, stdout: '' });
    expect(missing).toMatchObject({ status: 127, stdout: '' });
  });

  it('a setpriv that cannot do it is left alone, such as that of busybox', async () => {
    const PATH = only('sh');
    writeFileSync(join(PATH, 'setpriv'), '#!/bin/sh\necho unknown option >&2; exit 1\n', { mode: 0o755 });
    const ran = await ends(['run', 'x', '--store', newStore(), '--', 'sh', '-c', 'exit 7'], { env: { PATH } });
    expect(ran).toEqual({ status: 7, stdout: '', stderr: '' });
  });

  it('what it leaves in its group lives on with --leftovers leave, and no guard remains', async () => {
    const program = `sh -c 'exec sleep 1000' > /dev/null 2>&1 & echo left $!; read line`;
    const running = await started(['run', 'x', '--store', newStore(), '--leftovers', 'leave', '--', 'sh', '-c', program], {
      PATH: withAll,
    });
    const [, left] = await running.prints(/left (\d+)/);
    const guards = treeOf(running.pid).filter(({ comm }) => comm === 'xargs' || comm === 'lock-warden');
    expect(guards).toHaveLength(hasXargs ? 2 : 1);
    running.write('\n');
    expect(await running.ended).toMatchObject({ status: 0, stderr: '' });
    await Promise.all(guards.map(({ pid }) => gone(pid)));
    expect(isAlive(Number(left))).toBe(true);
    process.kill(Number(left), 'SIGKILL');
  });

  it.skipIf(!hasXargs && !inCi)(
    `the guard goes with the command, whose number may become another one's${hasXargs ? '' : ' (SKIPPED: there is no xargs or kill)'}`,
    async () => {
      const program = `setsid sh -c 'exec sleep 1000' > /dev/null 2>&1 & echo ready; read line`;
      const running = await started(['run', 'x', '--store', newStore(), '--leftovers', 'wait', '--', 'sh', '-c', program]);
      await running.prints(/ready/);
      const guard = treeOf(running.pid).find(({ comm }) => comm === 'xargs')!;
      running.write('\n');
      await running.prints(/is held until all have ended/, 'stderr');
      await gone(guard.pid);
      running.kill('SIGTERM');
      expect(await running.ended).toMatchObject({ status: 0 });
    },
  );
});
