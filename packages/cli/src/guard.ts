import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { whereIs } from './executable.ts';
import type { Tree } from './tree.ts';

/*
 * What ends the command when solorun and its warden are killed in one moment. Nothing of it is a process of Node.js, and it needs no
 * news but that solorun is there no more: the kernel, which ends the command itself, and xargs, which ends its process group. A machine
 * may have both, one or none of them; neither can stand in for a solorun that is stopped.
 */

/**
 * Put before the words of a command: the kernel kills it when the thread that started it ends, which is our main one. Children of the
 * command do not inherit that, and a program that changes its user loses it.
 */
export function tiedToUs(env: NodeJS.ProcessEnv): readonly string[] {
  if (process.platform !== 'linux') return [];
  const setpriv = whereIs('setpriv', env);
  return setpriv !== undefined && knowsPdeathsig(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--'] : [];
}

/** Busybox's and that of util-linux before 2.33 do not. To ask it would take a process. */
function knowsPdeathsig(setpriv: string): boolean {
  try {
    return readFileSync(setpriv).includes('pdeathsig');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // It may be executed and not be read, or is being replaced.
    if (code === 'EACCES' || code === 'EPERM' || code === 'ENOENT') return false;
    throw error;
  }
}

export interface Guard {
  watches(tree: Tree): void;
  done(): void;
}

/** `xargs kill`: it kills when its standard input ends, which this process alone holds open. */
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
    // First: a pipe that ends is the sign.
    guard.kill('SIGKILL');
    pipe.end();
  };
  return {
    watches({ pid, ownGroup, over }) {
      // Its number, and that of its group, may become another one's. What it left behind is the warden's to find.
      if (over) done();
      if (told || pid === undefined) return;
      told = true;
      pipe.write(`${ownGroup ? -pid : pid}\n`);
    },
    done,
  };
}
