import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';

/** A `solorun` or `withlock` that runs, or any other program. */
export interface Running {
  readonly pid: number;
  /** Resolves to the first line, printed or still to come, that matches. */
  prints(pattern: RegExp, on?: 'stdout' | 'stderr'): Promise<RegExpExecArray>;
  write(text: string): void;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

export interface Ended {
  /** The exit status; the name of the signal if one ended it. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Of another user; only root can. */
  readonly uid?: number;
}

const bin = join(import.meta.dirname, '../bin');
const running = new Set<ChildProcess>();
/** What a test that failed left running: the wardens end the commands. */
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

const home = mkdtempSync(join(tmpdir(), 'solorun-cli-'));
afterAll(() => rmSync(home, { recursive: true }));
let directories = 0;

/** A directory that nobody else uses, as a store. */
export function newStore(): string {
  return `file:${newDirectory()}`;
}

export function newDirectory(): string {
  directories += 1;
  return join(home, String(directories));
}

/** Starts a program without a terminal, whatever the tests were started from. */
export function start(file: string, args: readonly string[], { env = {}, cwd, uid }: StartOptions = {}): Running {
  const child = spawn(file, args, {
    detached: true,
    stdio: 'pipe',
    env: { ...clean(process.env), XDG_STATE_HOME: home, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid }),
  });
  running.add(child);
  // Writing to a program that has just ended is no error of the test's.
  child.stdin.on('error', () => {});
  const said = { stdout: '', stderr: '' };
  let over = false;
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
      tell();
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (status, signal) => {
      over = true;
      running.delete(child);
      tell();
      resolve({ status: status ?? signal ?? 'unknown', ...said });
    });
  });
  return {
    pid: child.pid!,
    ended,
    write: (text) => void child.stdin.write(text),
    kill: (signal) => void child.kill(signal),
    prints: (pattern, on = 'stdout') =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(said[on]);
          if (found !== null) resolve(found);
          else if (over) reject(new Error(`it ended without printing ${String(pattern)}: ${JSON.stringify(said)}`));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
  };
}

/** The tests may themselves be run by a solorun, or with a spinner's colours. */
function clean(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:SOLORUN_|PG|FORCE_COLOR$|NODE_OPTIONS$)/.test(name)));
}

export function solorun(args: readonly string[], options?: StartOptions): Running {
  return start(process.execPath, [join(bin, 'solorun.js'), ...args], options);
}

export function withlock(args: readonly string[], options?: StartOptions): Running {
  return start(process.execPath, [join(bin, 'withlock.js'), ...args], options);
}

/** Runs to the end, with nothing on stdin. */
export function ends(args: readonly string[], options?: StartOptions): Promise<Ended> {
  return solorun(args, options).ended;
}

/** Whether a process is there and not only waits to be collected. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3));
  } catch {
    return false;
  }
}

/** Resolves when the process has ended; it may be nobody's child by then. */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** The process that a `solorun` has started beside its command. */
export async function wardenOf(pid: number): Promise<number> {
  for (;;) {
    const found = readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && isWardenOf(pid, entry));
    if (found !== undefined) return Number(found);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function isWardenOf(pid: number, entry: string): boolean {
  try {
    const stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(parent) === pid && readFileSync(`/proc/${entry}/cmdline`, 'latin1').includes('warden');
  } catch {
    // It has ended since it was listed.
    return false;
  }
}
