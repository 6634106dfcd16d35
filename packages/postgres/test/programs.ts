import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Runs one of the programs beside, and tells its exit status, or the signal that ended it; -1 if it had to be killed. */
export async function start(name: string, args: readonly string[], limitMs = 15_000): Promise<number | string> {
  const program = fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  let killed = false;
  const limit = setTimeout(() => {
    killed = true;
    child.kill('SIGKILL');
  }, limitMs);
  const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
  clearTimeout(limit);
  return killed ? -1 : (status ?? signal ?? 'unknown');
}
