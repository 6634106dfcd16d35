import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';

export type Said = Readonly<Record<string, unknown>>;

/** A program of Node's that says what happens as JSON, a line each. */
export interface JsonProcess {
  readonly pid: number;
  /** Everything it has said so far. */
  readonly said: readonly Said[];
  /** Resolves to the first line, said or still to come, that has this key, and these values besides. */
  says(key: string, values?: Said): Promise<Said>;
  write(line: string): void;
  kill(signal: NodeJS.Signals): void;
  /** Kills it and waits until it is gone. */
  killed(): Promise<void>;
  /** Its exit status, once it has ended and all it said has been read; the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

const running = new Set<ChildProcess>();

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** What to put before the command, such as one that enters a network namespace and becomes the command then. */
  readonly within?: readonly string[];
}

/** Starts a program that lies at a URL. What it prints on stderr is shown. */
export function start(program: URL, args: readonly string[], { env = {}, within = [] }: StartOptions = {}): JsonProcess {
  const [file, ...rest] = [...within, process.execPath, fileURLToPath(program), ...args];
  const child = spawn(file!, rest, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  running.add(child);
  // Writing to a process that was killed a moment ago is no error of the test's.
  child.stdin.on('error', () => {});
  const said: Said[] = [];
  const listeners = new Set<() => void>();
  let over = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    said.push(JSON.parse(line) as Said);
    for (const listener of listeners) listener();
  });
  const ended = once(child, 'close').then(([status, signal]: (number | string | null)[]) => {
    over = true;
    running.delete(child);
    for (const listener of listeners) listener();
    return status ?? signal ?? 'unknown';
  });

  return {
    pid: child.pid!,
    said,
    ended,
    says: (key, values = {}) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const line = said.find((candidate) => key in candidate && isDeepStrictEqual({ ...candidate, ...values }, candidate));
          if (line !== undefined) resolve(line);
          else if (over)
            reject(
              new Error(`the program ended without saying ${JSON.stringify({ [key]: '…', ...values })}: ${JSON.stringify(said)}`),
            );
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
    write: (line) => void child.stdin.write(`${line}\n`),
    kill: (signal) => void child.kill(signal),
    async killed() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** For afterEach: what a test that failed left running, stopped ones included. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
