import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { Ending, statusOfSignal } from './exit.ts';
import { tiedToUs } from './guard.ts';
import { plain } from './show.ts';
import { alive, RUN_VARIABLE, signalTree, type Tree } from './tree.ts';

export interface CommandOptions {
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly nonce: string;
}

/** A command that runs, with all that it starts. */
export interface Command {
  readonly tree: Tree;
  /** Its exit status, as a shell would tell it. @throws Ending if it could not be started */
  readonly ended: Promise<number>;
  /** Hands on a signal that somebody sent to us. */
  forward(signal: NodeJS.Signals): void;
  /** SIGTERM to all of it, and SIGKILL to what is left after the grace. Resolves when nothing is left. */
  stop(graceMs: number): Promise<void>;
  /** Resolves when nothing of it is left, however long that takes. */
  gone(): Promise<void>;
  /** How many processes of it there are. */
  left(): number;
}

/** Looking through the process table takes a few milliseconds. */
const LOOK_MS = 20;
const LOOK_SELDOM_MS = 250;
/** After SIGKILL: what does not end then hangs in the kernel, or is another user's. */
const KILLED_MS = 2_000;

/** Starts it: no shell, our own stdin, stdout and stderr, a process group of its own unless that would take the terminal from it. */
export function startCommand({ command, env, nonce }: CommandOptions): Command {
  const [name = ''] = command;
  const ownGroup = process.platform !== 'win32' && !hasTerminal();
  const inherited = env[RUN_VARIABLE];
  const child = start(name, [...tiedToUs(env), ...command], {
    // A session of its own, and so a group.
    detached: ownGroup,
    stdio: 'inherit',
    env: { ...env, [RUN_VARIABLE]: inherited === undefined ? nonce : `${inherited} ${nonce}` },
  });
  const tree = { pid: child.pid, ownGroup, over: false, nonce };
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      // Only what keeps it from starting; a signal that cannot be sent is told by forward().
      if (child.pid === undefined) reject(cannotStart(name, error));
    });
    child.on('exit', (status, signal) => {
      tree.over = true;
      resolve(status ?? statusOfSignal(constants.signals[signal!]));
    });
  });

  async function gone(withinMs = Number.POSITIVE_INFINITY, lookMs = LOOK_MS): Promise<boolean> {
    for (const end = performance.now() + withinMs; alive(tree).length > 0;) {
      if (performance.now() >= end) return false;
      await new Promise((resolve) => setTimeout(resolve, Math.min(lookMs, Math.max(1, end - performance.now()))));
    }
    return true;
  }

  return {
    tree,
    ended,
    forward(signal) {
      if (child.pid === undefined) return;
      if (tree.over) {
        // There may be something left that is waited for.
        signalTree(tree, signal);
        return;
      }
      try {
        process.kill(ownGroup ? -child.pid : child.pid, signal);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // It has just ended, or has become another user's.
        if (code !== 'ESRCH' && code !== 'EPERM') throw error;
      }
    },
    async stop(graceMs) {
      signalTree(tree, 'SIGTERM');
      // One that is stopped could not act on it.
      signalTree(tree, 'SIGCONT');
      if (await gone(graceMs)) return;
      for (const end = performance.now() + KILLED_MS; performance.now() < end;) {
        signalTree(tree, 'SIGKILL');
        if (await gone(LOOK_MS * 5)) return;
      }
    },
    async gone() {
      await gone(undefined, LOOK_SELDOM_MS);
    },
    left: () => alive(tree).length,
  };
}

function start(name: string, [file = '', ...args]: readonly string[], options: SpawnOptions): ChildProcess {
  try {
    return spawn(file, args, options);
  } catch (error) {
    // Some reasons come by event and some at once, such as arguments that are too long.
    throw cannotStart(name, error as NodeJS.ErrnoException);
  }
}

/**
 * Whether there is a terminal that the command could use. In a session of its own it could not: keys and Ctrl-C would not reach it, and
 * /dev/tty would not open. So it stays in our group then, as it would be without us.
 */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r+'));
    return true;
  } catch (error) {
    // Not ours (ENXIO), gone (EIO), not there in a container, or not for us.
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENXIO', 'EIO', 'ENOENT', 'ENODEV', 'ENOTDIR', 'EACCES', 'EPERM'].includes(code)) return false;
    throw error;
  }
}

function cannotStart(name: string, error: NodeJS.ErrnoException): Ending {
  const exit = error.code === 'ENOENT' ? 'notFound' : 'notExecutable';
  return new Ending(exit, `${plain(name)} cannot be started: ${plain(error.message)}`, { cause: error });
}
