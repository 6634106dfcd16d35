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
  /** Its exit status, as a shell reports it. @throws Ending if it could not be started */
  readonly ended: Promise<number>;
  /** Hands on a signal that was sent to us. */
  forward(signal: NodeJS.Signals): void;
  /** SIGTERM to all of it, and SIGKILL to the rest after the grace. Resolves when nothing is left. */
  stop(graceMs: number): Promise<void>;
  /** Resolves when nothing of it is left, however long that takes. */
  gone(): Promise<void>;
  /** How many processes of it there are. */
  left(): number;
}

/** To read the process table takes a few milliseconds, so it is polled so often, in ms. */
const POLL_MS = 20;
const POLL_SELDOM_MS = 250;
/** After SIGKILL, in ms: a process that does not end within this hangs in the kernel, or is another user's. */
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
  return new StartedCommand(name, child, { ownGroup, nonce });
}

class StartedCommand implements Command {
  readonly ended: Promise<number>;
  readonly #child: ChildProcess;
  readonly #tree: Tree & { over: boolean };

  constructor(name: string, child: ChildProcess, { ownGroup, nonce }: Pick<Tree, 'ownGroup' | 'nonce'>) {
    this.#child = child;
    this.#tree = { pid: child.pid, ownGroup, over: false, nonce };
    this.ended = new Promise<number>((resolve, reject) => {
      child.on('error', (error: NodeJS.ErrnoException) => {
        // An error that keeps it from starting. A signal that cannot be sent is reported by forward().
        if (child.pid === undefined) reject(cannotStart(name, error));
      });
      child.on('exit', (status, signal) => {
        this.#tree.over = true;
        resolve(status ?? statusOfSignal(constants.signals[signal!]));
      });
    });
  }

  get tree(): Tree {
    return this.#tree;
  }

  forward(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    if (this.#tree.over) {
      // Something may be left that we wait for.
      signalTree(this.#tree, signal);
      return;
    }
    try {
      process.kill(this.#tree.ownGroup ? -pid : pid, signal);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // It has just ended, or has become another user's.
      if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    }
  }

  async stop(graceMs: number): Promise<void> {
    signalTree(this.#tree, 'SIGTERM');
    // A process that is stopped could not act on SIGTERM.
    signalTree(this.#tree, 'SIGCONT');
    if (await this.#goneWithin(graceMs, POLL_MS)) return;
    for (const end = performance.now() + KILLED_MS; performance.now() < end;) {
      signalTree(this.#tree, 'SIGKILL');
      if (await this.#goneWithin(POLL_MS * 5, POLL_MS)) return;
    }
  }

  async gone(): Promise<void> {
    await this.#goneWithin(Number.POSITIVE_INFINITY, POLL_SELDOM_MS);
  }

  left(): number {
    return alive(this.#tree).length;
  }

  async #goneWithin(withinMs: number, pollMs: number): Promise<boolean> {
    for (const end = performance.now() + withinMs; this.left() > 0;) {
      if (performance.now() >= end) return false;
      await new Promise((resolve) => setTimeout(resolve, Math.min(pollMs, Math.max(1, end - performance.now()))));
    }
    return true;
  }
}

function start(name: string, [file = '', ...args]: readonly string[], options: SpawnOptions): ChildProcess {
  try {
    return spawn(file, args, options);
  } catch (error) {
    // Some reasons come as an event. Others, such as arguments that are too long, are thrown.
    throw cannotStart(name, error as NodeJS.ErrnoException);
  }
}

/**
 * Whether there is a terminal that the command could use. In a session of its own the command could not: keys and Ctrl-C would not reach
 * it, and /dev/tty would not open. So it stays in our group then, as it would without us.
 */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r+'));
    return true;
  } catch (error) {
    // We have no terminal (ENXIO), it is gone (EIO), a container has none, or we may not open it.
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENXIO', 'EIO', 'ENOENT', 'ENODEV', 'ENOTDIR', 'EACCES', 'EPERM'].includes(code)) return false;
    throw error;
  }
}

function cannotStart(name: string, error: NodeJS.ErrnoException): Ending {
  const exit = error.code === 'ENOENT' ? 'notFound' : 'notExecutable';
  return new Ending(exit, `${plain(name)} cannot be started: ${plain(error.message)}`, { cause: error });
}
