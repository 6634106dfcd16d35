import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { whereIs } from './executable.ts';
import type { Tree } from './tree.ts';

/*
 * Two things end the command when solorun and its warden are killed in one moment: the kernel ends the command itself, and xargs ends its
 * process group. Neither is a process of Node.js, and both need to learn only that solorun is gone. A machine may have both, one or none
 * of them. Neither can stand in for a solorun that is stopped.
 */

/**
 * Words to put before a command, so that the kernel kills it when the thread that started it ends: our main one. Children of the command
 * do not inherit that, and a program that changes its user loses it.
 */
export function tiedToUs(env: NodeJS.ProcessEnv): readonly string[] {
  if (process.platform !== 'linux') return [];
  const setpriv = whereIs('setpriv', env);
  return setpriv !== undefined && knowsPdeathsig(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--'] : [];
}

/** Busybox's setpriv does not, and util-linux's before 2.33 does not. To ask the program would take a process. */
function knowsPdeathsig(setpriv: string): boolean {
  try {
    return readFileSync(setpriv).includes('pdeathsig');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // It may be executed but not read, or is being replaced.
    if (code === 'EACCES' || code === 'EPERM' || code === 'ENOENT') return false;
    throw error;
  }
}

export interface Guard {
  watches(tree: Tree): void;
  done(): void;
}

/** Starts `xargs kill`. It kills when its standard input ends, and this process alone holds that open. */
export function startGuard(env: NodeJS.ProcessEnv): Guard | undefined {
  if (process.platform === 'win32') return undefined;
  const [xargs, kill] = [whereIs('xargs', env), whereIs('kill', env)];
  if (xargs === undefined || kill === undefined) return undefined;
  const guard = spawn(xargs, [kill, '-KILL', '--'], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/', env: {} });
  const pipe = guard.stdin;
  // A guard that cannot start, or has been killed, is no loss while the warden lives.
  for (const each of [guard, pipe]) each.on('error', () => {});
  guard.unref();
  // A pipe of Node's is a socket.
  (pipe as unknown as { unref(): void }).unref();
  let told = false;
  const done = (): void => {
    // Killed before the pipe ends: the end of the pipe is its sign to kill.
    guard.kill('SIGKILL');
    pipe.end();
  };
  return {
    watches({ pid, ownGroup, over }) {
      // Its number, and that of its group, may be given to another process. The warden finds the processes that it left behind.
      if (over) done();
      if (told || pid === undefined) return;
      told = true;
      pipe.write(`${ownGroup ? -pid : pid}\n`);
    },
    done,
  };
}
