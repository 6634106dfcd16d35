import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { alive, RUN_VARIABLE, signalTree } from '../src/tree.ts';

describe.skipIf(process.platform !== 'linux')('the processes that a command became', () => {
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
  });

  async function start(env: NodeJS.ProcessEnv = {}): Promise<{ readonly child: ChildProcess; readonly pid: number }> {
    const child = spawn('sh', ['-c', 'echo ready; exec sleep 1000'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: '/usr/bin:/bin', ...env },
    });
    started.push(child);
    await once(child.stdout, 'data');
    return { child, pid: child.pid! };
  }

  it('are not whoever got the number of a command that is over', async () => {
    const stranger = await start();
    const tree = { pid: stranger.pid, ownGroup: true, over: false, nonce: 'of-nobody' };
    expect(alive(tree)).toEqual([stranger.pid]);
    const over = { ...tree, over: true };
    expect(alive(over)).toEqual([]);
    expect(signalTree(over, 'SIGKILL')).toBe(false);
    expect(alive(tree)).toEqual([stranger.pid]);
  });

  it('are known by the variable, whatever else is in the environment', async () => {
    const daemon = await start({ [`OLD_${RUN_VARIABLE}`]: 'x', COMMAND: `${RUN_VARIABLE}=y`, [RUN_VARIABLE]: 'outer of-this-run' });
    const other = await start({ COMMAND: `${RUN_VARIABLE}=of-this-run` });
    expect(alive({ pid: undefined, ownGroup: false, over: false, nonce: 'of-this-run' })).toEqual([daemon.pid]);
    expect(signalTree({ pid: undefined, ownGroup: false, over: false, nonce: 'of-this-run' }, 'SIGKILL')).toBe(true);
    await once(daemon.child, 'exit');
    expect(other.child.exitCode ?? other.child.signalCode).toBeNull();
  });
});
