import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { ends, newStore, solorun, type Running } from './cli.ts';

const UNTIL_TERM = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";

async function holding(store: string, more: readonly string[] = []): Promise<Running> {
  const running = solorun(['run', 'x', '--store', store, ...more, '--', 'sh', '-c', UNTIL_TERM]);
  await running.prints(/ready/);
  return running;
}

describe('while somebody else holds the lock', () => {
  it('the command is skipped with status 75, and one line on stderr names the holder', async () => {
    const store = newStore();
    const holder = await holding(store, ['--label', 'web-1']);
    expect(await ends(['run', 'x', '--store', store, '--', 'echo', 'ran'])).toEqual({
      status: 75,
      stdout: '',
      stderr: `solorun: skipped: "x" is held by web-1@${hostname()} (pid ${holder.pid})\n`,
    });
    holder.kill('SIGTERM');
    expect(await holder.ended).toMatchObject({ status: 0 });
    expect(await ends(['run', 'x', '--store', store, '--', 'echo', 'ran'])).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
  });

  it('another status can be asked for, and silence', async () => {
    const store = newStore();
    await holding(store);
    const quiet = ['run', 'x', '--store', store, '--busy-exit-code', '0', '--quiet', '--', 'echo', 'ran'];
    expect(await ends(quiet)).toEqual({ status: 0, stdout: '', stderr: '' });
    const failing = ['run', 'x', '--store', store, '--busy-exit-code', '9', '--quiet', '--on-busy', 'fail', '--', 'echo', 'ran'];
    expect(await ends(failing)).toMatchObject({ status: 9, stdout: '', stderr: expect.stringContaining('is held by') });
  });

  it('--wait waits in line, and gives up in time', async () => {
    const store = newStore();
    const holder = await holding(store);
    const late = await ends(['run', 'x', '--store', store, '--wait', '100ms', '--', 'echo', 'ran']);
    expect(late).toMatchObject({ status: 75, stdout: '', stderr: expect.stringContaining('gave up after') });
    const patient = solorun(['run', 'x', '--store', store, '--wait', '1m', '-v', '--', 'echo', 'ran']);
    await patient.prints(/waiting for "x", held by/, 'stderr');
    holder.kill('SIGTERM');
    expect(await patient.ended).toMatchObject({ status: 0, stdout: 'ran\n' });
  });

  it('--retries tries again', async () => {
    const store = newStore();
    const holder = await holding(store);
    expect(await ends(['run', 'x', '--store', store, '--retries', '1', '--', 'true'])).toMatchObject({ status: 75 });
    const stubborn = solorun(['run', 'x', '--store', store, '--on-busy', 'retry', '--retries', '1000', '-v', '--', 'echo', 'ran']);
    await stubborn.prints(/waiting for/, 'stderr');
    holder.kill('SIGTERM');
    expect(await stubborn.ended).toMatchObject({ status: 0, stdout: 'ran\n' });
  });
});

describe('once per occurrence', () => {
  const slot = ['--interval', '1d'];

  it('the first one runs it, and those who come later are told so', async () => {
    const store = newStore();
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', 'echo', 'ran'])).toMatchObject({ status: 0, stdout: 'ran\n' });
    const again = await ends(['run', 'x', '--store', store, ...slot, '--', 'echo', 'ran']);
    expect(again).toMatchObject({ status: 75, stdout: '', stderr: expect.stringMatching(/skipped: the occurrence of .* has run/) });
  });

  it('an interval may be longer than any timer counts', async () => {
    const store = newStore();
    const monthly = ['run', 'x', '--store', store, '--interval', '30d', '--', 'echo', 'ran'];
    expect(await ends(monthly)).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
    expect(await ends(monthly)).toMatchObject({ status: 75, stdout: '' });
  });

  it('a command that fails has had its attempt', async () => {
    const store = newStore();
    expect(await ends(['run', 'x', '--store', store, ...slot, '--', 'false'])).toMatchObject({ status: 1 });
    const again = await ends(['run', 'x', '--store', store, ...slot, '--', 'echo', 'ran']);
    expect(again).toMatchObject({ status: 75, stderr: expect.stringContaining('no attempts left') });
  });

  it('--attempts 2: one that stands by takes over when the command fails', async () => {
    const store = newStore();
    const terms = ['--store', store, ...slot, '--attempts', '2', '--on-busy', 'standby'];
    const failing = solorun([
      'run',
      'x',
      ...terms,
      '--',
      'sh',
      '-c',
      "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    await failing.prints(/ready/);
    const standby = solorun(['run', 'x', ...terms, '-v', '--', 'sh', '-c', 'echo "attempt $SOLORUN_ATTEMPT"']);
    await standby.prints(/waiting for/, 'stderr');
    failing.kill('SIGTERM');
    expect(await failing.ended).toMatchObject({ status: 5 });
    expect(await standby.ended).toMatchObject({ status: 0, stdout: 'attempt 2\n' });
  });

  it('--attempts 2: one that stands by takes over when solorun is killed, and the first command is gone by then', async () => {
    const store = newStore();
    const terms = ['--store', store, ...slot, '--attempts', '2', '--on-busy', 'standby'];
    const killed = solorun(['run', 'x', ...terms, '--', 'sh', '-c', 'echo pid $$; while :; do sleep 60; done']);
    await killed.prints(/pid/);
    const standby = solorun(['run', 'x', ...terms, '-v', '--', 'sh', '-c', 'echo "attempt $SOLORUN_ATTEMPT"']);
    await standby.prints(/waiting for/, 'stderr');
    killed.kill('SIGKILL');
    expect(await standby.ended).toMatchObject({ status: 0, stdout: 'attempt 2\n' });
  });

  it('one that stands by skips when the occurrence is done elsewhere', async () => {
    const store = newStore();
    const terms = ['--store', store, ...slot, '--on-busy', 'standby'];
    const holder = solorun(['run', 'x', ...terms, '--', 'sh', '-c', UNTIL_TERM]);
    await holder.prints(/ready/);
    const standby = solorun(['run', 'x', ...terms, '-v', '--', 'echo', 'ran']);
    await standby.prints(/waiting for/, 'stderr');
    holder.kill('SIGTERM');
    expect(await standby.ended).toMatchObject({ status: 75, stdout: '' });
  });
});
