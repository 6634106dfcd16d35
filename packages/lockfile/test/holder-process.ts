import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const running = new Set<ChildProcess>();

export interface HolderProcess {
  readonly pid: number;
  /** The next line that it says. */
  says(): Promise<Record<string, unknown>>;
  write(line: string): void;
  kill(signal: NodeJS.Signals): void;
  /** Kills it and waits until it is gone. */
  killed(): Promise<void>;
}

/** Another process that holds a lock; see programs/hold.js. */
export function hold(directory: string, name: string, leaseMs: number | null, ...more: string[]): HolderProcess {
  const program = fileURLToPath(new URL('./programs/hold.js', import.meta.url));
  const child = spawn(process.execPath, [program, directory, name, String(leaseMs), ...more], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid!,
    async says() {
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the holder ended without another word');
      return JSON.parse(value) as Record<string, unknown>;
    },
    write: (line) => void child.stdin.write(`${line}\n`),
    kill: (signal) => void child.kill(signal),
    async killed() {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** For afterEach: what a failed test left running. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
