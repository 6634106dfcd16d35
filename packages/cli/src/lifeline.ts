import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startGuard } from './guard.ts';
import type { Tree } from './tree.ts';

/** Our end of the pipe to the warden, and to the guard that is there should the warden be killed with us. */
export interface Lifeline {
  /** Whom to end when this process cannot. Told again when the command itself is over. */
  watches(tree: Tree): void;
  /** How long the lock is sure to be ours, in ms. Heard of less often than that, the warden ends the command. */
  trusted(remainingMs: number): void;
  /** The command has been asked to end; the warden sees to it that it does, in so many ms. */
  ending(graceMs: number): void;
  /** The command has ended. */
  done(): void;
}

export interface LifelineOptions {
  readonly nonce: string;
  /** Between SIGTERM and SIGKILL when the lock is not sure any more, in ms. */
  readonly lostGraceMs: number;
  readonly onLost: 'kill' | 'warn';
  readonly onBroken: () => void;
}

/** Starts the warden, and does not wait for it: what is written before it listens it finds in the pipe. */
export function startLifeline({ nonce, lostGraceMs, onLost, onBroken }: LifelineOptions): Lifeline {
  const program = fileURLToPath(new URL('warden.js', import.meta.url));
  const warden = spawn(process.execPath, [program, nonce, String(lostGraceMs), onLost], {
    // Out of reach of what the terminal or a supervisor sends to our group.
    detached: process.platform !== 'win32',
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    env: environment(),
    windowsHide: true,
  });
  const pipe = warden.stdin;
  const guard = startGuard(process.env);
  let over = false;
  const broken = (): void => {
    if (!over) onBroken();
    over = true;
  };
  warden.on('error', broken);
  warden.on('exit', broken);
  pipe.on('error', broken);
  warden.unref();
  // A pipe of Node's is a socket.
  (pipe as unknown as { unref(): void }).unref();

  const write = (line: string): void => void (over || pipe.write(`${line}\n`));
  return {
    watches(tree) {
      write(`child ${tree.pid} ${tree.ownGroup ? 'group' : 'alone'} ${tree.over ? 'over' : 'runs'}`);
      guard?.watches(tree);
    },
    trusted(remainingMs) {
      const now = Number(process.hrtime.bigint() / 1_000n) / 1_000;
      write(`until ${now + remainingMs}`);
    },
    ending: (graceMs) => write(`ending ${graceMs}`),
    done() {
      guard?.done();
      write('done');
      over = true;
      pipe.end();
    },
  };
}

/** What Node.js may need to start. No NODE_OPTIONS, no passwords, and no nonce, by which a solorun around this one would end it. */
function environment(): NodeJS.ProcessEnv {
  const needed = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'SystemRoot'];
  return Object.fromEntries(needed.map((name) => [name, process.env[name]]));
}
