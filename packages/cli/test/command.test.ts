import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ends, gone, isAlive, newDirectory, newStore, solorun, start, wardenOf } from './cli.ts';

const bin = join(import.meta.dirname, '../bin/solorun.js');
const SLEEP = 'while :; do sleep 60; done';

describe('the exit status', () => {
  it.each([
    ['sh', '-c', 'exit 0'],
    ['sh', '-c', 'exit 7'],
    ['sh', '-c', 'exit 255'],
  ])("is the command's own: %s %s %s", async (...command) => {
    const { status } = await ends(['run', 'x', '--store', newStore(), '--', ...command]);
    expect(status).toBe(Number(command[2].split(' ')[1]));
  });

  it.each([
    ['KILL', 137],
    ['TERM', 143],
    ['SEGV', 139],
  ])('is 128 + n when the command died of SIG%s', async (signal, status) => {
    expect(await ends(['run', 'x', '--store', newStore(), '--', 'sh', '-c', `kill -${signal} $$`])).toMatchObject({ status });
  });

  it('is 127 for a command that does not exist, and claims nothing', async () => {
    const store = newStore();
    const slot = ['--interval', '1d'];
    const missing = await ends(['run', 'x', '--store', store, ...slot, '--', 'no-such-command']);
    expect(missing).toEqual({ status: 127, stdout: '', stderr: 'solorun: no-such-command: command not found\n' });
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', './no/such/command'])).toMatchObject({ status: 127 });
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', '/dev/null/x'])).toMatchObject({ status: 127 });
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', 'true'])).toMatchObject({ status: 0 });
  });

  it('is 126 for a command that may not be executed, and claims nothing', async () => {
    const store = newStore();
    const directory = newDirectory();
    mkdirSync(directory);
    const file = join(directory, 'text');
    writeFileSync(file, 'no program');
    chmodSync(file, 0o644);
    const slot = ['--interval', '1d'];
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', file])).toMatchObject({ status: 126, stdout: '' });
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', directory])).toMatchObject({ status: 126 });
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', 'true'])).toMatchObject({ status: 0 });
  });

  it('is 127 too when the interpreter of the command is missing', async () => {
    const directory = newDirectory();
    mkdirSync(directory);
    writeFileSync(join(directory, 'job'), '#!/no/such/interpreter\n', { mode: 0o755 });
    expect(await ends(['run', 'x', '--store', newStore(), '--', join(directory, 'job')])).toMatchObject({ status: 127 });
  });

  it.each([
    ['no command', ['run', 'x']],
    ['nothing after the dashes', ['run', 'x', '--']],
    ['no name', ['run', '--', 'true']],
    ['an empty name', ['run', '', '--', 'true']],
    ['an option that is not known', ['run', 'x', '--forever', '--', 'true']],
    ['a time without its unit', ['run', 'x', '--lease', '30', '--', 'true']],
    ['a policy that is not known', ['run', 'x', '--on-busy', 'panic', '--', 'true']],
    ['standing by for nothing', ['run', 'x', '--on-busy', 'standby', '--', 'true']],
    ['attempts at nothing', ['run', 'x', '--attempts', '2', '--', 'true']],
    ['a schedule that is none', ['run', 'x', '--once-per', '61 * * * *', '--', 'true']],
    ['a time zone that is none', ['run', 'x', '--once-per', '* * * * *', '--timezone', 'Mars/Olympus', '--', 'true']],
    ['two schedules', ['run', 'x', '--once-per', '* * * * *', '--interval', '1m', '--', 'true']],
    ['a wait that is skipped', ['run', 'x', '--wait', '1s', '--on-busy', 'skip', '--', 'true']],
    ['a store that is none', ['run', 'x', '--store', 'somewhere', '--', 'true']],
    ['a store of later', ['run', 'x', '--store', 's3://bucket/prefix', '--', 'true']],
    ['a verb that is not known', ['walk']],
    ['nothing at all', []],
    ['a lease shorter than any store could keep', ['run', 'x', '--lease', '1ms', '--', 'true']],
  ])('is 64 for %s', async (_, args) => {
    const ended = await ends(args, { env: { SOLORUN_STORE: newStore() } });
    expect(ended).toMatchObject({ status: 64, stdout: '' });
    expect(ended.stderr).toMatch(/^solorun: ./);
  });

  it('is 64 where there is no directory for locks, and one line says what to give', async () => {
    for (const HOME of ['', 'relative']) {
      const ended = await ends(['run', 'x', '--', 'echo', 'ran'], { env: { XDG_STATE_HOME: '', HOME } });
      expect(ended).toEqual({
        status: 64,
        stdout: '',
        stderr: `solorun: There is no directory to keep locks in: HOME is "${HOME}". Give --store or SOLORUN_STORE, or set HOME or XDG_STATE_HOME.\n`,
      });
    }
  });

  // As in a container that was started with a user id of its own.
  it.skipIf(process.getuid?.() !== 0)(
    'is 64 for a user whom the machine does not know, without HOME (SKIPPED unless root)',
    async () => {
      const nobody = { env: { XDG_STATE_HOME: undefined, HOME: undefined }, uid: 54_321 };
      const ended = await ends(['run', 'x', '--', 'echo', 'ran'], nobody);
      expect(ended).toEqual({
        status: 64,
        stdout: '',
        stderr: expect.stringMatching(/^solorun: .*the user with id 54321 is not known here\. Give --store .*\n$/) as string,
      });
      expect(await ends(['run', 'x', '--store', 'memory:', '--', 'echo', 'ran'], nobody)).toMatchObject({ stdout: 'ran\n' });
    },
  );

  it('is 69 when the store cannot be asked, and the command is not started', async () => {
    const ended = await ends(['run', 'x', '--store', 'file:/proc/nowhere', '--', 'echo', 'ran']);
    expect(ended).toMatchObject({ status: 69, stdout: '' });
    const refused = await ends(['run', 'x', '--store', 'postgres://u:s3cret@127.0.0.1:1/db', '--', 'echo', 'ran']);
    expect(refused).toMatchObject({ status: 69, stdout: '' });
    expect(refused.stderr).not.toContain('s3cret');
  });
});

describe('the command', () => {
  it('gets the fence, the name and the attempt, and nothing else is on stdout', async () => {
    const store = newStore();
    const fences: number[] = [];
    for (let i = 0; i < 10; i += 1) {
      const { status, stdout } = await ends(['run', 'x y', '--store', store, '--', 'sh', '-c', 'echo "$SOLORUN_FENCE"']);
      expect(status).toBe(0);
      expect(stdout).toMatch(/^\d+\n$/);
      fences.push(Number(stdout));
    }
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    const { stdout } = await ends([
      'run',
      'x y',
      '--store',
      store,
      '--',
      'sh',
      '-c',
      'echo "$SOLORUN_NAME,$SOLORUN_ATTEMPT,${SOLORUN_OCCURRENCE-none}"',
    ]);
    expect(stdout).toBe('x y,1,none\n');
  });

  it('gets the scheduled instant, which is the latest that has come', async () => {
    const before = Math.floor(Date.now() / 3_600_000) * 3_600_000;
    const { status, stderr, stdout } = await ends([
      'run',
      'x',
      '--store',
      newStore(),
      '--once-per',
      '0 * * * *',
      '--timezone',
      'UTC',
      '--',
      'sh',
      '-c',
      'echo "$SOLORUN_OCCURRENCE"',
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const at = Date.parse(stdout.trim());
    expect(at % 3_600_000).toBe(0);
    expect([before, before + 3_600_000]).toContain(at);
  });

  it('gets its arguments as they are: no shell comes between', async () => {
    const words = ['$(reboot)', '`id`', '*', 'a b', '', '--', '-x', "'", '"', '\n'];
    const { stdout } = await ends(['run', 'x', '--store', newStore(), '--', 'printf', '[%s]', ...words]);
    expect(stdout).toBe(words.map((word) => `[${word}]`).join(''));
  });

  it('reads our stdin and writes to our stdout and stderr, byte by byte', async () => {
    const program = "process.stdin.pipe(process.stdout); process.stderr.write('aside')";
    const running = solorun(['run', 'x', '--store', newStore(), '--', process.execPath, '-e', program]);
    const text = 'äöü\0\r\n'.repeat(100_000);
    running.write(text);
    running.write('end');
    await running.prints(/end$/);
    running.kill('SIGTERM');
    const { stdout, stderr } = await running.ended;
    expect(stdout === `${text}end`).toBe(true);
    expect(stderr).toBe('aside');
  });

  it('is not in the way of what reads slowly: a pipe stays as blocking as it was', async () => {
    // cat gives up at the first EAGAIN.
    const line = 'solorun run x -v -- cat big | (sleep 0.3; cat) | cksum; cksum < big';
    const directory = newDirectory();
    mkdirSync(directory);
    writeFileSync(join(directory, 'big'), Buffer.alloc(3_000_000, 'x'));
    const script = line.replace('solorun', `"${process.execPath}" "${bin}" `);
    const { stdout } = await start('sh', ['-c', script], { cwd: directory, env: { SOLORUN_STORE: newStore() } }).ended;
    const [piped, direct] = stdout.trim().split('\n');
    expect(piped).toBe(direct);
  });

  it('is ended after --max-run, with status 124', async () => {
    const { status, stderr } = await ends([
      'run',
      'x',
      '--store',
      newStore(),
      '--max-run',
      '200ms',
      '--',
      'sh',
      '-c',
      "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    ]);
    expect(status).toBe(124);
    expect(stderr).toContain('--max-run');
  });

  it('can act on being asked to end even when it is stopped', async () => {
    const program = "trap 'echo bye; exit 0' TERM; kill -STOP $$; while :; do sleep 0.02; done";
    const ended = await ends(['run', 'x', '--store', newStore(), '--max-run', '500ms', '--', 'sh', '-c', program]);
    expect(ended).toMatchObject({ status: 124, stdout: 'bye\n' });
  });

  it('is killed after the grace if it will not end', async () => {
    const running = solorun([
      'run',
      'x',
      '--store',
      newStore(),
      '--max-run',
      '200ms',
      '--grace',
      '200ms',
      '--',
      'sh',
      '-c',
      `trap '' TERM; echo $$; ${SLEEP}`,
    ]);
    const [pid] = await running.prints(/\d+/);
    expect(await running.ended).toMatchObject({ status: 124 });
    expect(isAlive(Number(pid))).toBe(false);
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)(
    '%s to solorun reaches the command, which decides what it means',
    async (signal) => {
      const program = `trap 'echo got it; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.02; done`;
      const running = solorun(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program]);
      await running.prints(/ready/);
      running.kill(signal);
      expect(await running.ended).toMatchObject({ status: 9, stdout: 'ready\ngot it\n' });
    },
  );

  it('reach all of its process group', async () => {
    const inner = `trap "echo inner; exit 0" TERM; echo ready; while :; do sleep 0.02; done`;
    const outer = `trap 'echo outer' TERM; sh -c '${inner}' & while ! wait; do :; done; wait; exit 3`;
    const running = solorun(['run', 'x', '--store', newStore(), '--', 'sh', '-c', outer]);
    await running.prints(/ready/);
    running.kill('SIGTERM');
    const { status, stdout } = await running.ended;
    expect({ status, said: stdout.trim().split('\n').toSorted() }).toEqual({ status: 3, said: ['inner', 'outer', 'ready'] });
  });

  it('end a wait for the lock', async () => {
    const store = newStore();
    const holder = solorun(['run', 'x', '--store', store, '--', 'sh', '-c', `echo ready; ${SLEEP}`]);
    await holder.prints(/ready/);
    const waiting = solorun(['run', 'x', '--store', store, '--wait', '1h', '-v', '--', 'echo', 'ran']);
    await waiting.prints(/waiting for "x"/, 'stderr');
    waiting.kill('SIGTERM');
    expect(await waiting.ended).toMatchObject({ status: 143, stdout: '' });
    holder.kill('SIGTERM');
    expect(await holder.ended).toMatchObject({ status: 143 });
  });

  it('SIGKILL to solorun ends the command and all it started, and frees the lock at once', async () => {
    const store = newStore();
    const program = `echo command $$; setsid sh -c 'echo daemon $$; ${SLEEP}' & ${SLEEP}`;
    const running = solorun(['run', 'x', '--store', store, '--', 'sh', '-c', program]);
    const [, command] = await running.prints(/command (\d+)/);
    const [, daemon] = await running.prints(/daemon (\d+)/);
    running.kill('SIGKILL');
    await Promise.all([gone(Number(command)), gone(Number(daemon))]);
    expect(await ends(['run', 'x', '--store', store, '--wait', '1m', '--', 'echo', 'next'])).toMatchObject({
      status: 0,
      stdout: 'next\n',
    });
  });

  it('SIGKILL to solorun in the moment in which it starts the command leaves nothing behind', async () => {
    const store = newStore();
    for (let i = 0; i < 3; i += 1) {
      const running = solorun(['run', 'x', '--store', store, '--wait', '1m', '--', 'sh', '-c', `echo pid $$; ${SLEEP}`]);
      const [, pid] = await running.prints(/pid (\d+)/);
      running.kill('SIGKILL');
      await gone(Number(pid));
      expect(await running.ended).toMatchObject({ status: 'SIGKILL' });
    }
  });

  it('SIGSTOP to solorun: the command is gone before anybody else can run it', { timeout: 60_000 }, async () => {
    const store = newStore();
    // A grace that would not fit into the lease is cut. The lease is so long that a busy machine does not hide a command that goes on.
    const terms = ['--store', store, '--lease', '8s', '--grace', '1m'];
    // The command will not end by itself, either.
    const stopped = solorun(['run', 'x', ...terms, '--', 'sh', '-c', `trap '' TERM; echo pid $$; ${SLEEP}`]);
    const [, pid] = await stopped.prints(/pid (\d+)/);
    stopped.kill('SIGSTOP');
    const next = await ends([
      'run',
      'x',
      ...terms,
      '--wait',
      '1m',
      '--',
      'sh',
      '-c',
      `grep -E '^State:.*[^ZX] ' /proc/${pid}/status; echo end`,
    ]);
    expect(next).toMatchObject({ status: 0, stdout: 'end\n' });
    stopped.kill('SIGCONT');
    expect(await stopped.ended).toMatchObject({ status: 76 });
  });
});

describe('the warden', () => {
  it('is told of when it ends, and the command goes on', async () => {
    const running = solorun(['run', 'x', '--store', newStore(), '--', 'sh', '-c', 'echo ready; read line; echo "$line"']);
    await running.prints(/ready/);
    process.kill(await wardenOf(running.pid), 'SIGKILL');
    await running.prints(/the warden ended/, 'stderr');
    running.write('still here\n');
    expect(await running.ended).toMatchObject({ status: 0, stdout: 'ready\nstill here\n' });
  });

  it('is not needed to end a command that will not end', async () => {
    const terms = ['--store', newStore(), '--max-run', '1s', '--grace', '100ms'];
    const running = solorun(['run', 'x', ...terms, '--', 'sh', '-c', `trap '' TERM; echo pid $$; ${SLEEP}`]);
    const [, pid] = await running.prints(/pid (\d+)/);
    process.kill(await wardenOf(running.pid), 'SIGKILL');
    await running.prints(/the warden ended[^]*--max-run/, 'stderr');
    expect(await running.ended).toMatchObject({ status: 124 });
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('of a solorun within another one is no part of what that one runs, and nor is an occurrence', async () => {
    const store = newStore();
    const inner = [
      process.execPath,
      bin,
      'run',
      'inner',
      '--store',
      store,
      '--',
      'sh',
      '-c',
      'echo "${SOLORUN_OCCURRENCE-none} $SOLORUN_NAME"',
    ];
    const nested = await ends(['run', 'outer', '--store', store, '--interval', '1d', '--', ...inner]);
    expect(nested).toEqual({ status: 0, stdout: 'none inner\n', stderr: '' });
  });

  it('knows what a solorun within another one left behind', async () => {
    const store = newStore();
    const cwd = newDirectory();
    mkdirSync(cwd);
    const daemon =
      "setsid sh -c 'echo pid $$; exec sleep 1000' > out 2>&1 < /dev/null & until grep -qs pid out; do sleep 0.02; done; cat out";
    const inner = [process.execPath, bin, 'run', 'inner', '--leftovers', 'leave', '--store', store, '--', 'sh', '-c', daemon];
    const { status, stdout } = await ends(['run', 'outer', '--store', store, '--', ...inner], { cwd });
    expect(status).toBe(0);
    expect(isAlive(Number(/\d+/.exec(stdout)![0]))).toBe(false);
  });

  it('sees to all of a solorun within another one', async () => {
    const store = newStore();
    const inner = [process.execPath, bin, 'run', 'inner', '--store', store, '--', 'sh', '-c', `echo pid $$; ${SLEEP}`];
    const outer = solorun(['run', 'outer', '--store', store, '--', ...inner]);
    const [, pid] = await outer.prints(/pid (\d+)\n/);
    outer.kill('SIGKILL');
    await gone(Number(pid));
    expect(await ends(['run', 'inner', '--store', store, '--wait', '1m', '--', 'echo', 'free'])).toMatchObject({
      stdout: 'free\n',
    });
  });
});

describe('what the command leaves behind', () => {
  // Until it has said who it is.
  const ready = 'until grep -qs pid out; do sleep 0.02; done; cat out';
  const background = `sh -c 'echo pid $$; exec sleep 1000' > out 2>&1 < /dev/null & ${ready}`;
  const daemon = `setsid ${background}`;

  it.each([
    ['in its group', background],
    ['as a daemon in a session of its own', daemon],
  ])('%s is ended before the lock is given back', async (_, program) => {
    const cwd = newDirectory();
    mkdirSync(cwd);
    const { status, stdout, stderr } = await ends(['run', 'x', '--store', newStore(), '--', 'sh', '-c', `${program}; exit 4`], {
      cwd,
    });
    expect(status).toBe(4);
    expect(isAlive(Number(/\d+/.exec(stdout)![0]))).toBe(false);
    expect(stderr).toContain('left');
  });

  it('is waited for with --leftovers wait, with the lock held', async () => {
    const store = newStore();
    const cwd = newDirectory();
    mkdirSync(cwd);
    const running = solorun(['run', 'x', '--store', store, '--leftovers', 'wait', '--', 'sh', '-c', `${daemon}; exit 4`], { cwd });
    const [, pid] = await running.prints(/pid (\d+)/);
    await running.prints(/is held until all have ended/, 'stderr');
    expect(await ends(['run', 'x', '--store', store, '--', 'true'])).toMatchObject({ status: 75 });
    expect(isAlive(Number(pid))).toBe(true);
    // A signal finds what is left, too.
    running.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ status: 4 });
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('is left alone with --leftovers leave', async () => {
    const cwd = newDirectory();
    mkdirSync(cwd);
    const { status, stdout, stderr } = await ends(
      ['run', 'x', '--store', newStore(), '--leftovers', 'leave', '--', 'sh', '-c', `${daemon}; exit 4`],
      { cwd },
    );
    const pid = Number(/\d+/.exec(stdout)![0]);
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
    expect({ status, stderr }).toEqual({ status: 4, stderr: '' });
  });
});
